import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;

/** What the balances need of an event, read field by field; everything else is skipped. */
record Event(String tenant, String transactionId, String leg, long revision, List<Line> lines) {
    /** Fraction digits of an amount, as in a store of trueup where nothing else is said. */
    static final int SCALE = 9;

    private static final JsonFactory JSON = new JsonFactory();
    private static final BigInteger ONE = BigInteger.TEN.pow(SCALE);

    /** A posting, its amount in units of 10^-9, debits positive. */
    record Line(String account, String currency, BigInteger amount) {}

    static Event parse(byte[] record) throws IOException {
        String tenant = null;
        String transactionId = null;
        String leg = "";
        long revision = 1;
        List<Line> lines = List.of();
        try (JsonParser json = JSON.createParser(record)) {
            json.nextToken();
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String field = json.currentName();
                json.nextToken();
                switch (field) {
                    case "tenant" -> tenant = json.getText();
                    case "transaction_id" -> transactionId = json.getText();
                    case "leg" -> leg = json.getText();
                    case "revision" -> revision = json.getLongValue();
                    case "postings" -> lines = lines(json);
                    default -> json.skipChildren();
                }
            }
        }
        return new Event(tenant, transactionId, leg, revision, lines);
    }

    private static List<Line> lines(JsonParser json) throws IOException {
        List<Line> lines = new ArrayList<>(4);
        while (json.nextToken() != JsonToken.END_ARRAY) {
            lines.add(line(json));
        }
        return lines;
    }

    private static Line line(JsonParser json) throws IOException {
        String account = null;
        String currency = null;
        String side = null;
        BigInteger amount = null;
        while (json.nextToken() != JsonToken.END_OBJECT) {
            String field = json.currentName();
            json.nextToken();
            switch (field) {
                case "account" -> account = json.getText();
                case "currency" -> currency = json.getText();
                case "side" -> side = json.getText();
                case "amount" -> amount = units(json.getText());
                default -> json.skipChildren();
            }
        }
        return new Line(account, currency, side.equals("debit") ? amount : amount.negate());
    }

    /** Reads a decimal as units of 10^-9, exactly. */
    static BigInteger units(String text) {
        int point = text.indexOf('.');
        int fraction = point < 0 ? 0 : text.length() - point - 1;
        if (fraction > SCALE) {
            throw new ArithmeticException("more than " + SCALE + " fraction digits: " + text);
        }
        // Up to 18 digits fit into a long, which is much the faster way.
        if (text.length() - fraction + SCALE <= 18) {
            long units = 0;
            for (int i = 0; i < text.length(); i++) {
                if (i != point) {
                    units = units * 10 + (text.charAt(i) - '0');
                }
            }
            for (int i = fraction; i < SCALE; i++) {
                units *= 10;
            }
            return BigInteger.valueOf(units);
        }
        return new BigDecimal(text).movePointRight(SCALE).toBigIntegerExact();
    }

    /** Writes units of 10^-9 as a decimal. */
    static String decimal(BigInteger units) {
        return new BigDecimal(units, SCALE).toPlainString();
    }
}
