import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Keeps the highest revision of each leg, and sends on what it changes of the balances. */
final class CurrentRevisions implements Processor<byte[], byte[], byte[], byte[]> {
    static final String STORE = "current";

    private final Progress progress;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<byte[], byte[]> current;

    CurrentRevisions(Progress progress) {
        this.progress = progress;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        current = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Event event;
        try {
            event = Event.parse(record.value());
        } catch (IOException cause) {
            throw new UncheckedIOException(cause);
        }
        byte[] key = Bytes.key(event.tenant(), event.transactionId(), event.leg());
        byte[] old = current.get(key);
        Bytes.Version before = old == null ? null : Bytes.version(old);
        if (before == null || event.revision() > before.revision()) {
            if (before != null) {
                before.lines()
                        .forEach(line -> send(record, event, line, line.amount().negate(), -1));
            }
            current.put(key, Bytes.version(event));
            event.lines().forEach(line -> send(record, event, line, line.amount(), 1));
        }
        context.recordMetadata().ifPresent(progress::processed);
        // Last, so that what this event has sent is counted before the event is.
        progress.seen.incrementAndGet();
    }

    private void send(
            Record<byte[], byte[]> record,
            Event event,
            Event.Line line,
            BigInteger amount,
            long lines) {
        progress.sent.incrementAndGet();
        byte[] account = Bytes.key(event.tenant(), line.account(), line.currency());
        context.forward(new Record<>(account, Bytes.balance(amount, lines), record.timestamp()));
    }
}
