//! How linked transactions come to agree within one epoch.
//!
//! A reversal or refund *claims* its target; the target *answers* with its kind and with what is to
//! be derived; nets flow back up. A change must never be answered from a state that is about to
//! be withdrawn, or two transactions that come to reverse each other would keep each other's stale
//! lines alive. Hence phases, each of which is quiet everywhere before the next begins:
//!
//! ```text
//! Invalidate  claims go up; what may be false goes down and is forgotten, all the way
//! Answer      whoever is settled answers; each answer settles the next, down the chains
//! Count       whoever is still unsettled is in a circle or behind one, and says so to its target
//! Trim        whoever nobody unsettled names is behind; trimming it may uncover the next
//! Circle      the rest are the circles: orphans, settled, who answer those behind them
//! Expect      whoever names a target announces its net to it, and so on up the chains
//! Nets        whoever expects no net any more computes its own and sends it up, leaves first
//! Emit        everyone touched publishes f(new) - f(old)
//! ```
//!
//! Every message is sent once per link and phase. A transaction that nothing links never gets here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trueup_ledger::transaction::{ByCurrency, Fold, Inflows, OrphanCause, Standing, add_to, fold};
use trueup_ledger::{Kind, TransactionKey};

use super::state::{Answer, Child, Claim, Derivation, Events, Links, State, stored};

/// The phases of an epoch, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Invalidate,
    Answer,
    Count,
    Trim,
    Circle,
    Expect,
    Nets,
    Emit,
}

impl Phase {
    pub(crate) const LATER: [Phase; 7] = [
        Phase::Answer,
        Phase::Count,
        Phase::Trim,
        Phase::Circle,
        Phase::Expect,
        Phase::Nets,
        Phase::Emit,
    ];
}

/// What one transaction says to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// I name you.
    Claim(Claim),
    /// I no longer name you.
    Withdraw,
    /// What I told you may be false now.
    Invalidate,
    /// This is what I am to you.
    Answer(Answer),
    /// I name you and have no answer.
    Count,
    /// Do not count me: I am not in your circle.
    Trim,
    /// A net of mine will come.
    Expect,
    /// Count this of mine as reversed or refunded.
    Nets(ByCurrency),
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) to: TransactionKey,
    pub(crate) from: TransactionKey,
    pub(crate) message: Message,
}

/// A transaction that this epoch touches and that is linked.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(crate) key: TransactionKey,
    pub(crate) state: State,
    /// Who is to be answered once we are settled.
    tell: BTreeSet<TransactionKey>,
    /// Whether all rivals for our lines are among them.
    rivals_told: bool,
    /// Whether our answer was forgotten in this epoch.
    unsettled: bool,
    /// Who counts itself in our circle.
    counted_by: BTreeSet<TransactionKey>,
    trimmed: bool,
    /// Whether we have announced our net.
    announced: bool,
    /// Whose nets have been announced to us and have not come.
    expected: BTreeSet<TransactionKey>,
    contributed: bool,
}

/// Returns the fold of a state's events.
pub(crate) fn with_fold<R>(events: &Events, f: impl FnOnce(Option<&Fold<'_, '_>>) -> R) -> R {
    let events: Vec<_> = events.iter().map(|canonical| stored(canonical)).collect();
    f(fold(&events).as_ref())
}

/// Returns how a transaction stands towards its target.
pub(crate) fn standing(fold: &Fold<'_, '_>, links: &Links) -> Standing {
    let Some(opening) = fold.link() else {
        return Standing::Clear;
    };
    if links.circle {
        return Standing::Orphan(OrphanCause::Circle);
    }
    let Some(answer) = &links.heard else {
        return Standing::Clear;
    };
    match answer.kind {
        None => return Standing::Orphan(OrphanCause::TargetMissing),
        Some(kind) if !opening.kind.may_link_to(kind) => {
            return Standing::Orphan(OrphanCause::TargetKind);
        }
        Some(_) => {}
    }
    if !fold.derives() {
        return Standing::Clear;
    }
    match &answer.derivation {
        Derivation::None => Standing::Clear,
        Derivation::Lines(lines) => Standing::Derives(lines.clone()),
        Derivation::Lost(gross) => Standing::WithoutEffect(gross.clone()),
    }
}

/// Returns what those that name a transaction contribute.
pub(crate) fn inflows(links: &Links) -> Inflows {
    let mut inflows = Inflows::default();
    for child in links.children.values() {
        let sums = match child.claim.kind {
            Kind::Reverse => &mut inflows.reversed,
            _ => &mut inflows.refunded,
        };
        for (currency, units) in &child.nets {
            add_to(sums, currency, *units);
        }
    }
    inflows
}

impl Touched {
    pub(crate) fn new(key: TransactionKey, state: State) -> Touched {
        Touched {
            key,
            state,
            tell: BTreeSet::new(),
            rivals_told: false,
            unsettled: false,
            counted_by: BTreeSet::new(),
            trimmed: false,
            announced: false,
            expected: BTreeSet::new(),
            contributed: false,
        }
    }

    fn send(&self, to: TransactionKey, message: Message, outbox: &mut Vec<Mail>) {
        outbox.push(Mail { to, from: self.key, message });
    }

    fn send_up(&self, message: Message, outbox: &mut Vec<Mail>) {
        if let Some((target, _)) = &self.state.links.claimed {
            self.send(*target, message, outbox);
        }
    }

    fn reverses(&self) -> bool {
        matches!(&self.state.links.claimed, Some((_, claim)) if claim.kind == Kind::Reverse)
    }

    /// Whether our own standing is known. Only reversals depend on their targets.
    fn settled(&self) -> bool {
        !self.reverses() || self.state.links.heard.is_some() || self.state.links.circle
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled && !self.settled()
    }

    pub(crate) fn has_to_tell(&self) -> bool {
        !self.tell.is_empty()
    }

    /// Forgets the answer, and makes everyone who builds on ours forget theirs.
    fn unsettle(&mut self, outbox: &mut Vec<Mail>) {
        let links = &mut self.state.links;
        links.heard = None;
        links.circle = false;
        links.circle_child = None;
        if self.reverses() && !self.unsettled {
            self.unsettled = true;
            self.tell_again(|child| child.claim.kind == Kind::Reverse, outbox);
        }
    }

    /// Invalidates what some children have heard, and notes that they must hear it anew.
    fn tell_again(&mut self, whom: impl Fn(&Child) -> bool, outbox: &mut Vec<Mail>) {
        let children = &self.state.links.children;
        let again = children.iter().filter(|(_, child)| whom(child)).map(|(key, _)| *key);
        for child in again.collect::<Vec<_>>() {
            if self.tell.insert(child) {
                self.send(child, Message::Invalidate, outbox);
            }
        }
    }

    /// Takes in that the events have changed; `kind_before` is the kind before they did.
    pub(crate) fn events_changed(&mut self, kind_before: Option<Kind>, outbox: &mut Vec<Mail>) {
        let (kind, wanted) = with_fold(&self.state.events, |fold| {
            let kind = fold.and_then(|fold| fold.opening).map(|opening| opening.kind);
            (kind, fold.and_then(claim_of))
        });
        if wanted != self.state.links.claimed {
            let target = wanted.as_ref().map(|(target, _)| *target);
            match &self.state.links.claimed {
                Some((old, _)) if Some(*old) != target => {
                    self.send(*old, Message::Withdraw, outbox);
                }
                _ => {}
            }
            self.state.links.claimed = wanted;
            if let Some((_, claim)) = &self.state.links.claimed {
                self.send_up(Message::Claim(claim.clone()), outbox);
            }
            self.unsettle(outbox);
        }
        if kind == kind_before {
            self.tell_again(|child| child.claim.derives, outbox);
        } else {
            self.tell_again(|_| true, outbox);
        }
    }

    /// Takes in one message of another transaction.
    pub(crate) fn receive(
        &mut self,
        from: TransactionKey,
        message: Message,
        outbox: &mut Vec<Mail>,
    ) {
        let from_target = matches!(&self.state.links.claimed, Some((target, _)) if *target == from);
        match message {
            Message::Claim(claim) => self.claimed_by(from, claim, outbox),
            Message::Withdraw => {
                self.tell.remove(&from);
                if let Some(child) = self.state.links.children.remove(&from) {
                    self.rivals_changed(from, child.claim.derives, outbox);
                }
            }
            Message::Invalidate if from_target => self.unsettle(outbox),
            Message::Answer(answer) if from_target && !self.state.links.circle => {
                self.state.links.heard = Some(answer);
                self.answer(outbox);
            }
            Message::Count => {
                self.counted_by.insert(from);
            }
            Message::Trim => {
                self.counted_by.remove(&from);
                self.trim(outbox);
            }
            Message::Nets(nets) => {
                if let Some(child) = self.state.links.children.get_mut(&from) {
                    child.nets = nets;
                }
                self.expected.remove(&from);
                self.contribute(outbox);
            }
            Message::Expect => {
                self.expected.insert(from);
                self.announce(outbox);
            }
            // What a former target says no longer concerns us, nor does any target's answer
            // once we are known to be in a circle.
            Message::Invalidate | Message::Answer(_) => {}
        }
    }

    fn claimed_by(&mut self, from: TransactionKey, claim: Claim, outbox: &mut Vec<Mail>) {
        let derives = claim.derives;
        let child = Child { claim, nets: ByCurrency::new() };
        let before = self.state.links.children.insert(from, child);
        self.tell.insert(from);
        let derived = before.is_some_and(|child| child.claim.derives);
        self.rivals_changed(from, derives || derived, outbox);
    }

    /// Another reversal may have the effect now that one has come, changed or gone.
    fn rivals_changed(&mut self, whose: TransactionKey, derives: bool, outbox: &mut Vec<Mail>) {
        // Whoever claims later in this epoch is told for its claim, so once is enough for all.
        if derives && !std::mem::replace(&mut self.rivals_told, true) {
            let rivals = self.state.links.children.iter();
            let rivals = rivals.filter(|(key, child)| **key != whose && child.claim.derives);
            for rival in rivals.map(|(key, _)| *key).collect::<Vec<_>>() {
                if self.tell.insert(rival) {
                    self.send(rival, Message::Invalidate, outbox);
                }
            }
        }
    }

    /// Answers everyone who waits, if we are settled.
    pub(crate) fn answer(&mut self, outbox: &mut Vec<Mail>) {
        if self.tell.is_empty() || !self.settled() {
            return;
        }
        let tell = std::mem::take(&mut self.tell);
        let links = &self.state.links;
        // The member of our circle that names us is an orphan: no rival, and it asks nobody.
        let rivals = links
            .children
            .iter()
            .filter(|(key, child)| child.claim.derives && Some(**key) != links.circle_child);
        let winner = rivals
            .min_by(|(_, a), (_, b)| a.claim.seniority().cmp(&b.claim.seniority()))
            .map(|(key, _)| *key);
        let (kind, lines, gross) = with_fold(&self.state.events, |fold| match fold {
            None => (None, Vec::new(), ByCurrency::new()),
            Some(fold) => {
                let standing = standing(fold, links);
                let mut lines = Vec::new();
                fold.lines(&standing, |line| lines.push(line.to_posting()));
                let gross = fold.meaning(&standing, &Inflows::default()).grosses();
                (fold.opening.map(|opening| opening.kind), lines, gross)
            }
        });
        for child in tell {
            let derives = links.children.get(&child).is_some_and(|child| child.claim.derives);
            let derivation = match (derives, winner == Some(child)) {
                (false, _) => Derivation::None,
                (true, true) => Derivation::Lines(lines.clone()),
                (true, false) => Derivation::Lost(gross.clone()),
            };
            let answer = Answer { kind, derivation };
            self.send(child, Message::Answer(answer), outbox);
        }
    }

    /// Does what a phase asks of every touched transaction when it begins.
    pub(crate) fn begin(&mut self, phase: Phase, outbox: &mut Vec<Mail>) {
        match phase {
            Phase::Invalidate | Phase::Emit => {}
            Phase::Expect => self.announce(outbox),
            Phase::Nets => self.contribute(outbox),
            Phase::Answer => self.answer(outbox),
            Phase::Count if self.is_unsettled() => self.send_up(Message::Count, outbox),
            Phase::Trim => self.trim(outbox),
            Phase::Circle if self.is_unsettled() && !self.trimmed => {
                self.state.links.circle = true;
                self.state.links.circle_child = self.counted_by.first().copied();
                if let Some(member) = self.state.links.circle_child {
                    self.tell.remove(&member);
                }
                self.answer(outbox);
            }
            Phase::Count | Phase::Circle => {}
        }
    }

    fn trim(&mut self, outbox: &mut Vec<Mail>) {
        if self.is_unsettled() && !self.trimmed && self.counted_by.is_empty() {
            self.trimmed = true;
            self.send_up(Message::Trim, outbox);
        }
    }

    pub(crate) fn has_target(&self) -> bool {
        self.state.links.claimed.is_some()
    }

    /// Announces our net to the target, which announces its own to its target.
    fn announce(&mut self, outbox: &mut Vec<Mail>) {
        if !std::mem::replace(&mut self.announced, true) {
            self.send_up(Message::Expect, outbox);
        }
    }

    /// Sends the target our net once all that it is made of has come. One without effect is
    /// nothing whatever comes, and does not wait: so circles, whose members wait for each other,
    /// end.
    fn contribute(&mut self, outbox: &mut Vec<Mail>) {
        if !self.has_target() || self.contributed {
            return;
        }
        let links = &self.state.links;
        let waits = !self.expected.is_empty();
        let nets = with_fold(&self.state.events, |fold| {
            let standing = fold.map(|fold| (fold, standing(fold, links)));
            match standing {
                None | Some((_, Standing::Orphan(_) | Standing::WithoutEffect(_))) => {
                    Some(ByCurrency::new())
                }
                Some(_) if waits => None,
                Some((fold, standing)) => {
                    let mut nets = fold.meaning(&standing, &inflows(links)).nets();
                    nets.retain(|(_, units)| *units != 0);
                    Some(nets)
                }
            }
        });
        if let Some(nets) = nets {
            self.contributed = true;
            self.send_up(Message::Nets(nets), outbox);
        }
    }
}

/// Returns the target that a fold names, and the claim on it.
fn claim_of(fold: &Fold<'_, '_>) -> Option<(TransactionKey, Claim)> {
    let opening = fold.link()?;
    let target = TransactionKey::of(fold.tenant, opening.target.as_deref()?);
    let claim = Claim {
        kind: opening.kind,
        derives: fold.derives(),
        recorded_at: opening.recorded_at,
        event_id: opening.event_id.as_ref().into(),
        transaction_id: fold.transaction_id.into(),
    };
    Some((target, claim))
}
