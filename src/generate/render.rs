//! An event as one line of JSON. What is written follows from the event alone, so an event that
//! is delivered twice has the same bytes twice.

use super::draw::scatter;
use super::event::{
    Account, Control, Event, EventId, Kind, Line, Lines, ORDERS, Said, Statement, Zeros,
};
use super::metadata;
use super::text;
use super::world::{self, CURRENCIES, LEGS, PROCESSORS, SERVICES, Tenant};

#[derive(Clone, Copy)]
enum Field {
    Version,
    EventId,
    Tenant,
    Kind,
    Transaction,
    Leg,
    Revision,
    Effective,
    Recorded,
    Source,
    Correlation,
    Postings,
    Target,
    Expires,
    Drift,
    Metadata,
}

use Field::{
    Correlation, Drift, Effective, EventId as Id, Expires, Kind as KindField, Leg, Metadata,
    Postings, Recorded, Revision, Source, Target, Tenant as TenantField, Transaction, Version,
};

/// The orders in which producers write the fields: as the specification does, by name, metadata
/// first, and the other way round.
#[rustfmt::skip]
const FIELD_ORDERS: [[Field; 16]; ORDERS] = [
    [
        Version, Id, TenantField, KindField, Transaction, Leg, Revision, Effective, Recorded,
        Source, Correlation, Postings, Target, Expires, Drift, Metadata,
    ],
    [
        Correlation, Effective, Id, Expires, KindField, Leg, Metadata, Postings, Recorded, Target,
        Revision, Drift, Source, TenantField, Transaction, Version,
    ],
    [
        Metadata, Drift, Version, KindField, Id, Correlation, TenantField, Transaction, Target,
        Leg, Revision, Recorded, Effective, Expires, Source, Postings,
    ],
    [
        Postings, Target, Expires, Drift, Correlation, Source, Recorded, Effective, Revision, Leg,
        Transaction, KindField, TenantField, Id, Metadata, Version,
    ],
];

/// Appends the event, without a newline.
pub(super) fn event(event: &Event, tenant: &Tenant, out: &mut Vec<u8>) {
    // Behind the metadata comes the brace that ends the record.
    let end = event.look.record_bytes.saturating_sub(1) + out.len();
    let mut writer = Writer { event, tenant, out, first: true, end };
    writer.out.push(b'{');
    for field in FIELD_ORDERS[event.look.order] {
        writer.field(field);
    }
    writer.out.push(b'}');
}

struct Writer<'a> {
    event: &'a Event,
    tenant: &'a Tenant,
    out: &'a mut Vec<u8>,
    first: bool,
    /// Where metadata end in a record of a given size.
    end: usize,
}

impl Writer<'_> {
    fn key(&mut self, name: &str) {
        let spaced = self.event.look.spaced;
        if !self.first {
            self.out.extend_from_slice(if spaced { b", " } else { b"," });
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(if spaced { b"\": " } else { b"\":" });
    }

    fn literal(&mut self, name: &str, value: &[u8]) {
        self.key(name);
        self.out.extend_from_slice(value);
    }

    fn field(&mut self, field: Field) {
        let event = self.event;
        let look = event.look;
        match field {
            Version => self.literal("v", b"1"),
            Id => self.event_id(),
            TenantField => {
                self.key("tenant");
                text::string(self.out, &self.tenant.name, look.escaped);
            }
            KindField => self.literal("kind", kind_name(event.kind)),
            Transaction if event.kind.has_transaction() => {
                self.key("transaction_id");
                self.tenant.transaction_id(self.out, event.transaction, look.escaped);
            }
            Leg if event.leg > 0 || look.explicit => {
                self.key("leg");
                text::string(self.out, LEGS[event.leg], look.escaped);
            }
            Revision if event.revision > 1 || look.explicit => {
                self.key("revision");
                text::number(self.out, event.revision);
            }
            Effective => {
                self.key("effective_at");
                text::instant(self.out, event.effective);
            }
            Recorded => {
                self.key("recorded_at");
                text::instant(self.out, event.recorded);
            }
            Source => self.source(),
            Correlation => self.correlation(),
            Postings => {
                if let Some(lines) = event.lines {
                    self.key("postings");
                    self.postings(&lines);
                }
            }
            Target => {
                self.target();
                self.said();
            }
            Expires => {
                if let Some(expires) = event.expires {
                    self.key("expires_at");
                    text::instant(self.out, expires);
                }
            }
            Drift if look.drift => {
                self.literal("schema_hint", b"\"ledger-event/1.7\"");
                self.literal("pii", b"{\"class\":null,\"fields\":[\"payer.name\"]}");
            }
            Metadata => {
                self.key("metadata");
                match look.record_bytes {
                    0 => metadata::write(look.salt, look.large, self.out),
                    _ => metadata::write_up_to(look.salt, self.end, self.out),
                }
            }
            Transaction | Leg | Revision | Drift => {}
        }
    }

    fn event_id(&mut self) {
        match self.event.id {
            EventId::Common => self.literal("event_id", b"\"created\""),
            EventId::Number(number) => {
                self.literal("event_id", b"\"evt_");
                text::hex(self.out, scatter(number), 16);
                self.out.push(b'"');
            }
        }
    }

    fn source(&mut self) {
        self.literal("source", b"{\"service\":\"");
        self.out.extend_from_slice(SERVICES[self.event.service].as_bytes());
        self.out.push(b'"');
        if self.event.sequence > 0 {
            self.out.extend_from_slice(b",\"sequence\":");
            text::number(self.out, self.event.sequence);
        }
        if self.event.look.drift {
            self.out.extend_from_slice(b",\"build\":[4,1,0]");
        }
        self.out.push(b'}');
    }

    fn correlation(&mut self) {
        let salt = self.event.look.salt;
        // One service in ten does not trace.
        if salt.is_multiple_of(10) {
            return;
        }
        self.literal("correlation_id", b"\"00-");
        text::hex(self.out, scatter(salt), 16);
        text::hex(self.out, scatter(!salt), 16);
        self.out.push(b'-');
        text::hex(self.out, salt, 16);
        self.out.extend_from_slice(b"-01\"");
    }

    fn target(&mut self) {
        let Some(target) = self.event.target else {
            return;
        };
        self.key(match self.event.kind {
            Kind::Refund => "refunds",
            Kind::Capture => "captures",
            Kind::Release => "releases",
            _ => "reverses",
        });
        self.tenant.transaction_id(self.out, target, self.event.look.escaped);
    }

    fn said(&mut self) {
        match self.event.said {
            Some(Said::Account(account)) => self.account(account),
            Some(Said::Statement(statement)) => self.statement(statement),
            Some(Said::Control(control)) => self.control(&control),
            Some(Said::Period(year, month)) => {
                self.literal("period", b"\"");
                text::padded(self.out, year, 4);
                self.out.push(b'-');
                text::padded(self.out, month, 2);
                self.out.push(b'"');
            }
            None => {}
        }
    }

    fn account(&mut self, Account { number, credit, forbidden }: Account) {
        self.literal("account", b"{\"name\":");
        world::account(self.out, number, self.event.look.escaped);
        let side: &[u8] = if credit { b"\"credit\"" } else { b"\"debit\"" };
        self.out.extend_from_slice(b",\"normal_side\":");
        self.out.extend_from_slice(side);
        let overdraft: &[u8] = if forbidden { b"\"forbidden\"}" } else { b"\"allowed\"}" };
        self.out.extend_from_slice(b",\"overdraft\":");
        self.out.extend_from_slice(overdraft);
    }

    fn statement(&mut self, statement: Statement) {
        self.literal("statement", b"{\"processor\":\"");
        self.out.extend_from_slice(PROCESSORS[statement.processor].0.as_bytes());
        self.out.extend_from_slice(b"\",\"reference\":");
        self.tenant.transaction_id(self.out, statement.reference, self.event.look.escaped);
        self.out.extend_from_slice(b",\"amount\":\"");
        if statement.negative {
            self.out.push(b'-');
        }
        self.decimal(statement.currency, statement.amount);
        self.out.extend_from_slice(b"\",\"currency\":\"");
        self.out.extend_from_slice(CURRENCIES[statement.currency].code.as_bytes());
        self.out.extend_from_slice(b"\",\"value_date\":\"");
        text::date(self.out, statement.date);
        self.out.extend_from_slice(b"\"}");
    }

    fn control(&mut self, control: &Control) {
        self.literal("control", b"{\"from_sequence\":");
        text::number(self.out, control.from);
        self.out.extend_from_slice(b",\"to_sequence\":");
        text::number(self.out, control.to);
        self.out.extend_from_slice(b",\"count\":");
        text::number(self.out, control.count);
        self.out.extend_from_slice(b",\"totals\":{");
        let mut between: &[u8] = b"\"";
        for (currency, (debits, credits)) in control.sums.iter().enumerate() {
            if (*debits, *credits) == (0, 0) {
                continue;
            }
            self.out.extend_from_slice(between);
            between = b",\"";
            self.out.extend_from_slice(CURRENCIES[currency].code.as_bytes());
            self.out.extend_from_slice(b"\":{\"debit\":\"");
            self.decimal(currency, *debits);
            self.out.extend_from_slice(b"\",\"credit\":\"");
            self.decimal(currency, *credits);
            self.out.extend_from_slice(b"\"}");
        }
        self.out.extend_from_slice(b"}}");
    }

    fn postings(&mut self, lines: &Lines) {
        self.out.push(b'[');
        for (n, line) in lines.as_slice().iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.posting(line);
        }
        self.out.push(b']');
    }

    fn posting(&mut self, line: &Line) {
        let look = self.event.look;
        let side: &[u8] = if line.credit { b"\"credit\"" } else { b"\"debit\"" };
        // Half of the field orders also turn the fields of a posting round.
        if look.order.is_multiple_of(2) {
            self.out.extend_from_slice(b"{\"account\":");
            world::account(self.out, line.account, look.escaped);
            self.out.extend_from_slice(b",\"side\":");
            self.out.extend_from_slice(side);
            self.amount(line);
        } else {
            self.out.extend_from_slice(b"{\"side\":");
            self.out.extend_from_slice(side);
            self.amount(line);
            self.out.extend_from_slice(b",\"account\":");
            world::account(self.out, line.account, look.escaped);
        }
        if look.drift {
            self.out.extend_from_slice(b",\"memo\":{\"amount\":\"not this one\"}");
        }
        self.out.push(b'}');
    }

    /// Writes amount and currency.
    fn amount(&mut self, line: &Line) {
        self.out.extend_from_slice(b",\"amount\":\"");
        self.decimal(line.currency, line.amount);
        self.out.extend_from_slice(b"\",\"currency\":\"");
        self.out.extend_from_slice(CURRENCIES[line.currency].code.as_bytes());
        self.out.push(b'"');
    }

    /// Writes an amount, given in the smallest unit of a currency, with the zeros of the event.
    fn decimal(&mut self, currency: usize, amount: u64) {
        let decimals = CURRENCIES[currency].decimals;
        let unit = text::power_of_ten(decimals);
        let (mut fraction, mut width) = (amount % unit, decimals);
        text::number(self.out, amount / unit);
        match self.event.look.zeros {
            Zeros::AsCurrency => {}
            Zeros::OneMore => (fraction, width) = (fraction * 10, width + 1),
            Zeros::Trimmed => {
                while width > 0 && fraction % 10 == 0 {
                    (fraction, width) = (fraction / 10, width - 1);
                }
            }
        }
        if width > 0 {
            self.out.push(b'.');
            text::padded(self.out, fraction, width);
        }
    }
}

fn kind_name(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Post => b"\"post\"",
        Kind::Correct => b"\"correct\"",
        Kind::Reverse => b"\"reverse\"",
        Kind::Refund => b"\"refund\"",
        Kind::Hold => b"\"hold\"",
        Kind::Capture => b"\"capture\"",
        Kind::Release => b"\"release\"",
        Kind::Account => b"\"account\"",
        Kind::StatementLine => b"\"statement_line\"",
        Kind::ControlTotal => b"\"control_total\"",
        Kind::ClosePeriod => b"\"close_period\"",
        Kind::ReopenPeriod => b"\"reopen_period\"",
    }
}
