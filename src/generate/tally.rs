//! What a record is and what is hostile about it, named and counted, so that a test can compare
//! what a run reports with what was planted.

macro_rules! counted {
    ($(#[$on:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$on])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($(#[$doc])* $name,)* }

        impl $enum {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [$enum] = &[$($enum::$name,)*];
        }
    };
}

counted! {
    /// How a record that must be quarantined is broken.
    Poison {
        /// The record ends in its middle.
        Truncated,
        /// The record is text, CSV or XML.
        NotJson,
        /// The record is `{}`.
        EmptyObject,
        /// The record is empty or consists of blanks.
        Blank,
        /// The record is a JSON value, but no object.
        NotAnObject,
        /// An account has bytes that are not UTF-8.
        InvalidUtf8,
        /// An account has half a surrogate pair.
        LoneSurrogate,
        /// An amount is a JSON number.
        AmountNumber,
        /// An amount has an exponent.
        AmountExponent,
        /// An amount has a sign.
        AmountSigned,
        /// An amount has separators: `1_000`, `1,000`, a blank.
        AmountSeparators,
        /// An amount is the empty string.
        AmountEmpty,
        /// An amount has more than nine fraction digits, too many for the default `amount_scale`.
        AmountPrecision,
        /// An amount has more digits than an `i128` holds.
        AmountHuge,
        /// An amount is NaN or infinite, as text or as a bare word.
        AmountNan,
        /// A field of the schema is given twice.
        DuplicateKey,
        /// A field has a value of another type.
        WrongType,
        /// A required field is missing.
        MissingField,
        /// A time names no real instant.
        BadTime,
        /// The kind is not of the specification.
        UnknownKind,
        /// The schema version is 2.
        VersionTwo,
        /// Values are nested deeper than 32.
        TooDeep,
        /// Something follows the object.
        TrailingGarbage,
        /// A `reverse` has a leg.
        LegOnReverse,
        /// A `release` carries postings.
        PostingsOnRelease,
        /// A `hold` does not say when it ends.
        HoldWithoutEnd,
        /// A `correct` has revision 1.
        CorrectRevisionOne,
        /// A currency is in lower case, too long, or begins with a digit.
        BadCurrency,
        /// An account has a control character.
        ControlInAccount,
        /// A side is neither `debit` nor `credit`.
        BadSide,
        /// An identifier is longer than 128 bytes, or an account than 256.
        TooLong,
        /// The record is larger than 1 MiB.
        TooLarge,
        /// A statement, a control total or a period does not say what it has to.
        BadFact,
    }
}

counted! {
    /// What makes a valid record hard to account for.
    Hostility {
        /// The same bytes as an earlier record.
        ExactDuplicate,
        /// The same event as an earlier record in other bytes: another field order, offset,
        /// number of trailing zeros, metadata, correlation id, escapes.
        SemanticDuplicate,
        /// The event id of another event of its transaction, or of another account, with another
        /// content.
        SameIdConflict,
        /// Another event id for the same leg and revision.
        SameRevisionConflict,
        /// A second opening of a transaction, of another kind.
        OtherKindConflict,
        /// The later of two legs that balance only together.
        SecondLeg,
        /// A leg whose counterpart never comes.
        LonelyLeg,
        /// A correction of a transaction that came lately.
        RecentCorrection,
        /// A correction of a transaction that came long ago.
        OldCorrection,
        /// A correction that a higher revision overtook.
        OvertakenCorrection,
        /// A correction without postings: the leg is void.
        Void,
        /// A correction that comes before its opening.
        EarlyCorrection,
        /// A correction whose opening never comes.
        LostOpening,
        /// A correction of a reversal, refund or capture.
        LinkCorrection,
        /// A reversal that derives its postings.
        DerivedReversal,
        /// A reversal that carries its postings.
        CarriedReversal,
        /// A reversal that comes before its target.
        EarlyReversal,
        /// A member of a chain of three to six reversals of reversals, in any order.
        ReversalChain,
        /// A member of a circle of two or three reversals.
        ReversalCircle,
        /// A reversal of itself.
        SelfReversal,
        /// The second reversal of one target.
        SecondReversal,
        /// A reversal whose target never comes.
        LostReversal,
        /// A refund of a part.
        PartialRefund,
        /// A refund of everything.
        FullRefund,
        /// A refund of more than the target.
        OverRefund,
        /// A refund that comes before its target.
        EarlyRefund,
        /// A refund whose target never comes.
        LostRefund,
        /// A capture that derives its postings.
        DerivedCapture,
        /// A capture that carries its postings.
        CarriedCapture,
        /// A release.
        Release,
        /// A hold that nothing resolves.
        OpenHold,
        /// A correction of a hold that is captured.
        HoldCorrection,
        /// A capture or release that comes before its hold.
        EarlyResolution,
        /// The second or third capture or release of one hold.
        LateResolution,
        /// A capture or release whose hold never comes.
        LostResolution,
        /// A capture of more than the hold.
        OverCapture,
        /// A reversal or refund of a capture.
        CaptureTakenBack,
        /// A capture or release of what is no hold, or a reversal of a hold.
        WrongTarget,
        /// A second declaration of one account.
        Redeclaration,
        /// A statement line of what the ledger says, or of a part of it.
        Statement,
        /// A statement line of another amount, or of what the ledger does not know.
        WrongStatement,
        /// A control total.
        Control,
        /// A control total that says something else than what was sent.
        WrongControl,
        /// A month is closed.
        ClosedPeriod,
        /// A closed month is opened again.
        ReopenedPeriod,
        /// A transaction that does not balance.
        Unbalanced,
        /// The first event behind a gap in its sequence.
        SequenceGap,
        /// The event that closes such a gap, late.
        GapCured,
        /// An effective date up to seven years before the record.
        OldDate,
        /// An event id that many transactions use (it need be unique in its transaction only).
        CommonEventId,
        /// Fields that the schema does not know.
        SchemaDrift,
        /// About 4 KB instead of 1 KB.
        LargeRecord,
        /// Whatever is not ASCII in it is written as `\u` escapes.
        EscapedUnicode,
    }
}

/// A set of [`Hostility`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hostilities(u64);

impl Hostilities {
    /// Says whether `hostility` is in the set.
    #[must_use]
    pub fn has(self, hostility: Hostility) -> bool {
        self.0 & (1 << hostility as u64) != 0
    }

    pub(super) fn add(&mut self, hostility: Hostility) {
        self.0 |= 1 << hostility as u64;
    }

    pub(super) fn add_if(&mut self, hostility: Hostility, condition: bool) {
        if condition {
            self.add(hostility);
        }
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A valid `post`.
    Post,
    /// A valid `correct`.
    Correct,
    /// A valid `reverse`.
    Reverse,
    /// A valid `refund`.
    Refund,
    /// A valid `hold`.
    Hold,
    /// A valid `capture`.
    Capture,
    /// A valid `release`.
    Release,
    /// A valid `account`.
    Account,
    /// A valid `statement_line`.
    StatementLine,
    /// A valid `control_total`.
    ControlTotal,
    /// A valid `close_period`.
    ClosePeriod,
    /// A valid `reopen_period`.
    ReopenPeriod,
    /// A record that must be quarantined.
    Poison(Poison),
}

/// Counts of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// All records.
    pub records: u64,
    /// Their size as JSONL, a newline each.
    pub bytes: u64,
    /// Valid `post` records, duplicates included, as in the next ten.
    pub posts: u64,
    /// Valid `correct` records.
    pub corrections: u64,
    /// Valid `reverse` records.
    pub reversals: u64,
    /// Valid `refund` records.
    pub refunds: u64,
    /// Valid `hold` records.
    pub holds: u64,
    /// Valid `capture` records.
    pub captures: u64,
    /// Valid `release` records.
    pub releases: u64,
    /// Valid `account` records.
    pub accounts: u64,
    /// Valid `statement_line` records.
    pub statements: u64,
    /// Valid `control_total` records.
    pub controls: u64,
    /// Valid `close_period` and `reopen_period` records.
    pub periods: u64,
    poison: [u64; Poison::ALL.len()],
    planted: [u64; Hostility::ALL.len()],
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            records: 0,
            bytes: 0,
            posts: 0,
            corrections: 0,
            reversals: 0,
            refunds: 0,
            holds: 0,
            captures: 0,
            releases: 0,
            accounts: 0,
            statements: 0,
            controls: 0,
            periods: 0,
            poison: [0; Poison::ALL.len()],
            planted: [0; Hostility::ALL.len()],
        }
    }
}

impl Summary {
    /// Returns how many records are broken in this way.
    #[must_use]
    pub fn poison(&self, poison: Poison) -> u64 {
        self.poison[poison as usize]
    }

    /// Returns how many records must be quarantined.
    #[must_use]
    pub fn poison_records(&self) -> u64 {
        self.poison.iter().sum()
    }

    /// Returns how many records have this hostility; a record may have several.
    #[must_use]
    pub fn planted(&self, hostility: Hostility) -> u64 {
        self.planted[hostility as usize]
    }

    /// Returns how many records are duplicates of an earlier one, exact or semantic.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.planted(Hostility::ExactDuplicate) + self.planted(Hostility::SemanticDuplicate)
    }

    pub(super) fn count(&mut self, kind: RecordKind, planted: Hostilities, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
        match kind {
            RecordKind::Post => self.posts += 1,
            RecordKind::Correct => self.corrections += 1,
            RecordKind::Reverse => self.reversals += 1,
            RecordKind::Refund => self.refunds += 1,
            RecordKind::Hold => self.holds += 1,
            RecordKind::Capture => self.captures += 1,
            RecordKind::Release => self.releases += 1,
            RecordKind::Account => self.accounts += 1,
            RecordKind::StatementLine => self.statements += 1,
            RecordKind::ControlTotal => self.controls += 1,
            RecordKind::ClosePeriod | RecordKind::ReopenPeriod => self.periods += 1,
            RecordKind::Poison(poison) => self.poison[poison as usize] += 1,
        }
        for (count, hostility) in self.planted.iter_mut().zip(Hostility::ALL) {
            *count += u64::from(planted.has(*hostility));
        }
    }
}
