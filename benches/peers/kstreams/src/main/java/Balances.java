import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/** Sums the changes of each account; a balance without lines goes. */
final class Balances implements Processor<byte[], byte[], Void, Void> {
    static final String STORE = "balances";

    private final Progress progress;
    private ProcessorContext<Void, Void> context;
    private KeyValueStore<byte[], byte[]> balances;

    Balances(Progress progress) {
        this.progress = progress;
    }

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        this.context = context;
        balances = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        Bytes.Balance change = Bytes.balance(record.value());
        byte[] old = balances.get(record.key());
        if (old == null) {
            balances.put(record.key(), record.value());
        } else {
            Bytes.Balance before = Bytes.balance(old);
            long lines = before.lines() + change.lines();
            byte[] after = Bytes.balance(before.amount().add(change.amount()), lines);
            balances.put(record.key(), lines == 0 ? null : after);
        }
        context.recordMetadata().ifPresent(progress::processed);
        progress.applied.incrementAndGet();
    }
}
