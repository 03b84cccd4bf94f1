import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * How far the job is, since a stream has no end of its own.
 *
 * <p>All is computed when every event was seen and every change that came of them was applied; the
 * result is committed when the committed offsets are behind what was processed last.
 */
final class Progress {
    final AtomicLong seen = new AtomicLong();
    final AtomicLong sent = new AtomicLong();
    final AtomicLong applied = new AtomicLong();
    private final Map<TopicPartition, Long> last = new ConcurrentHashMap<>();

    void processed(RecordMetadata record) {
        last.put(new TopicPartition(record.topic(), record.partition()), record.offset());
    }

    boolean computed(long events) {
        return seen.get() == events && sent.get() == applied.get();
    }

    boolean committed(Map<TopicPartition, OffsetAndMetadata> offsets) {
        return last.entrySet().stream()
                .allMatch(
                        processed -> {
                            OffsetAndMetadata offset = offsets.get(processed.getKey());
                            return offset != null && offset.offset() > processed.getValue();
                        });
    }
}
