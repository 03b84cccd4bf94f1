import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.Table;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;

/**
 * Flink SQL as a peer of trueup: keeps the balances of a file of events, in one process.
 *
 * <p>{@code Job INPUT RESULT SETTINGS}, where SETTINGS are {@code key=value} of Flink, one a line.
 * The changes of the balances go into a map in memory. That is less than exactly once: a sink that
 * survives would have to be a transactional one, which costs more.
 */
public final class Job {
    private static final String EVENTS =
            """
            CREATE TABLE events (
                tenant STRING, transaction_id STRING, leg STRING, revision BIGINT,
                postings ARRAY<ROW<
                    account STRING, side STRING, amount DECIMAL(38, 9), currency STRING>>
            ) WITH ('connector' = 'filesystem', 'path' = '%s', 'format' = 'json')
            """;

    /** The planner makes a rank of the inner query, and sums in two phases. */
    private static final String BALANCES =
            """
            SELECT tenant, account, currency,
                SUM(CASE WHEN side = 'debit' THEN amount ELSE -amount END), COUNT(*)
            FROM (
                SELECT tenant, postings
                FROM (
                    SELECT tenant, postings, ROW_NUMBER() OVER (
                        PARTITION BY tenant, transaction_id, COALESCE(leg, '')
                        ORDER BY COALESCE(revision, 1) DESC) AS place
                    FROM events)
                WHERE place = 1) c
            CROSS JOIN UNNEST(c.postings) AS line (account, side, amount, currency)
            GROUP BY tenant, account, currency
            """;

    /** Flink runs within this process, so its tasks and {@code main} see the same map. */
    private static final Map<String, String> CURRENT = new ConcurrentHashMap<>();

    private Job() {}

    public static void main(String[] arguments) throws Exception {
        Configuration settings = settings(Path.of(arguments[2]));
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.getExecutionEnvironment(settings);
        StreamTableEnvironment tables =
                StreamTableEnvironment.create(
                        environment,
                        EnvironmentSettings.newInstance()
                                .inStreamingMode()
                                .withConfiguration(settings)
                                .build());
        tables.executeSql(String.format(EVENTS, Path.of(arguments[0]).toUri()));
        Table balances = tables.sqlQuery(BALANCES);
        tables.toChangelogStream(balances)
                .map(Job::apply)
                .returns(Types.BOOLEAN)
                .sinkTo(new DiscardingSink<>());
        // From here on it is the job: what the planner takes is start-up.
        long startedAt = System.currentTimeMillis();
        environment.execute("balances");
        long completedAt = System.currentTimeMillis();
        write(Path.of(arguments[1]));
        System.out.printf(
                "{\"started_at_ns\": %d000000, \"completed_at_ns\": %d000000}%n",
                startedAt, completedAt);
        // Threads of the cluster within may outlive it.
        System.exit(0);
    }

    private static Configuration settings(Path file) throws IOException {
        Configuration settings = new Configuration();
        for (String line : Files.readAllLines(file)) {
            int equals = line.indexOf('=');
            settings.setString(line.substring(0, equals), line.substring(equals + 1));
        }
        return settings;
    }

    private static boolean apply(Row row) {
        String key = row.getField(0) + "," + row.getField(1) + "," + row.getField(2);
        RowKind kind = row.getKind();
        if (kind == RowKind.INSERT || kind == RowKind.UPDATE_AFTER) {
            CURRENT.put(key, row.getField(3) + "," + row.getField(4));
        } else if (kind == RowKind.DELETE) {
            CURRENT.remove(key);
        }
        return true;
    }

    private static void write(Path result) throws IOException {
        try (PrintWriter out = new PrintWriter(result.toFile(), StandardCharsets.UTF_8)) {
            out.println("tenant,account,currency,balance,lines");
            CURRENT.forEach((key, value) -> out.println(key + "," + value));
        }
    }
}
