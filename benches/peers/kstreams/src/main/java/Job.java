import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams as a peer of trueup: keeps the balances of a topic of events.
 *
 * <pre>
 * topic -> CurrentRevisions -> repartition by (tenant, account, currency) -> Balances
 * </pre>
 *
 * <p>{@code Job TOPIC EVENTS RESULT SETTINGS}: ends when that many events are processed and
 * committed. The balances are in a store whose changelog is the published stream of changes.
 */
public final class Job {
    private static final Serde<byte[]> BYTES = Serdes.ByteArray();

    private Job() {}

    public static void main(String[] arguments) throws Exception {
        long startedAt = System.currentTimeMillis();
        String topic = arguments[0];
        long events = Long.parseLong(arguments[1]);
        Properties settings = Utils.loadProps(arguments[3]);
        Progress progress = new Progress();
        StreamsConfig config = new StreamsConfig(settings);
        KafkaStreams streams = new KafkaStreams(topology(topic, progress, settings), config);
        streams.setUncaughtExceptionHandler(
                cause -> {
                    cause.printStackTrace();
                    Runtime.getRuntime().halt(1);
                    return null;
                });
        streams.start();
        try (Admin admin = Admin.create(settings)) {
            String group = settings.getProperty(StreamsConfig.APPLICATION_ID_CONFIG);
            while (!progress.computed(events) || !committed(admin, group, progress)) {
                Thread.sleep(20);
            }
        }
        long completedAt = System.currentTimeMillis();
        write(streams, Path.of(arguments[2]));
        System.out.printf(
                "{\"started_at_ns\": %d000000, \"completed_at_ns\": %d000000}%n",
                startedAt, completedAt);
        streams.close(Duration.ofSeconds(20));
    }

    private static Topology topology(
            String topic, Progress progress, Properties settings) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(store(CurrentRevisions.STORE));
        builder.addStateStore(store(Balances.STORE));
        builder.stream(topic, Consumed.with(BYTES, BYTES))
                .process(() -> new CurrentRevisions(progress), CurrentRevisions.STORE)
                .repartition(Repartitioned.with(BYTES, BYTES).withName("changes"))
                .process(() -> new Balances(progress), Balances.STORE);
        return builder.build(settings);
    }

    private static StoreBuilder<?> store(String name) {
        return Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(name), BYTES, BYTES)
                .withCachingEnabled();
    }

    private static boolean committed(Admin admin, String group, Progress progress)
            throws Exception {
        return progress.committed(
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
    }

    private static void write(KafkaStreams streams, Path result) throws IOException {
        ReadOnlyKeyValueStore<byte[], byte[]> balances =
                streams.store(
                        StoreQueryParameters.fromNameAndType(
                                Balances.STORE, QueryableStoreTypes.keyValueStore()));
        try (PrintWriter out = new PrintWriter(result.toFile(), StandardCharsets.UTF_8);
                KeyValueIterator<byte[], byte[]> all = balances.all()) {
            out.println("tenant,account,currency,balance,lines");
            while (all.hasNext()) {
                KeyValue<byte[], byte[]> entry = all.next();
                List<String> key = Bytes.parts(entry.key);
                Bytes.Balance balance = Bytes.balance(entry.value);
                out.printf(
                        "%s,%s,%s,%s,%d%n",
                        key.get(0),
                        key.get(1),
                        key.get(2),
                        Event.decimal(balance.amount()),
                        balance.lines());
            }
        }
    }
}
