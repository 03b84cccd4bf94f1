import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** How keys and values lie in stores and topics: lengths and bytes, no text to be parsed again. */
final class Bytes {
    private Bytes() {}

    /** The balance of one account, or a change of one. */
    record Balance(BigInteger amount, long lines) {}

    /** The revision that counts of one leg. */
    record Version(long revision, List<Event.Line> lines) {}

    static byte[] key(String... parts) {
        byte[][] encoded = new byte[parts.length][];
        int size = 0;
        for (int i = 0; i < parts.length; i++) {
            encoded[i] = parts[i].getBytes(StandardCharsets.UTF_8);
            size += 2 + encoded[i].length;
        }
        ByteBuffer out = ByteBuffer.allocate(size);
        for (byte[] part : encoded) {
            out.putShort((short) part.length).put(part);
        }
        return out.array();
    }

    static List<String> parts(byte[] key) {
        List<String> parts = new ArrayList<>(3);
        ByteBuffer in = ByteBuffer.wrap(key);
        while (in.hasRemaining()) {
            parts.add(text(in));
        }
        return parts;
    }

    static byte[] balance(BigInteger amount, long lines) {
        byte[] units = amount.toByteArray();
        return ByteBuffer.allocate(8 + units.length).putLong(lines).put(units).array();
    }

    static Balance balance(byte[] value) {
        long lines = ByteBuffer.wrap(value).getLong();
        return new Balance(new BigInteger(value, 8, value.length - 8), lines);
    }

    static byte[] version(Event event) {
        List<byte[]> lines = new ArrayList<>(event.lines().size());
        int size = 8;
        for (Event.Line line : event.lines()) {
            byte[] names = key(line.account(), line.currency());
            byte[] units = line.amount().toByteArray();
            ByteBuffer encoded = ByteBuffer.allocate(names.length + 1 + units.length);
            lines.add(encoded.put(names).put((byte) units.length).put(units).array());
            size += encoded.capacity();
        }
        ByteBuffer out = ByteBuffer.allocate(size).putLong(event.revision());
        lines.forEach(out::put);
        return out.array();
    }

    static Version version(byte[] value) {
        ByteBuffer in = ByteBuffer.wrap(value);
        long revision = in.getLong();
        List<Event.Line> lines = new ArrayList<>(4);
        while (in.hasRemaining()) {
            String account = text(in);
            String currency = text(in);
            byte[] units = new byte[in.get()];
            in.get(units);
            lines.add(new Event.Line(account, currency, new BigInteger(units)));
        }
        return new Version(revision, lines);
    }

    private static String text(ByteBuffer in) {
        byte[] bytes = new byte[in.getShort()];
        in.get(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
