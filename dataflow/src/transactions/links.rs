//! How linked transactions come to agree within one epoch.
//!
//! Whatever names a target *claims* it; the target *answers* with its kind and with what is to be
//! derived, a hold also with who resolved it before; nets flow back up. A change must never be
//! answered from a state that is about to be withdrawn, or two transactions that come to reverse
//! each other would keep each other's stale lines alive. Hence phases, each of which is quiet
//! everywhere before the next begins:
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
//!
//! Who resolves a hold follows from the claims on it, so a hold keeps nothing more of it. A hold
//! names nobody and is always settled; whatever else is captured, released or refunded says so at
//! once, settled or not, as it only has to say its kind. So only reversals wait for each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trueup_ledger::transaction::{ByCurrency, Inflows};
use trueup_ledger::{Kind, TransactionKey};

use super::standing::{claim_of, has_effect, inflows, senior, standing, with_fold};
use super::state::{Answer, Child, Claim, Derivation, State};

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
    /// Count this of mine as reversed, refunded or captured.
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

    /// Whether what we are to others depends on our target.
    fn depends(&self) -> bool {
        let claimed = self.state.links.claimed.as_ref();
        claimed.is_some_and(|(_, claim)| matches!(claim.kind, Kind::Reverse | Kind::Capture))
    }

    /// Whether our own standing is known, as far as others depend on it.
    fn settled(&self) -> bool {
        !self.depends() || self.state.links.heard.is_some() || self.state.links.circle
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
        if self.depends() && !self.unsettled {
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
        let (kind, wanted) = with_fold(&self.state, |fold| {
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
                    self.rivals_changed(from, child.claim.contends(), outbox);
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
        let contends = claim.contends();
        let child = Child { claim, nets: ByCurrency::new() };
        let before = self.state.links.children.insert(from, child);
        self.tell.insert(from);
        let contended = before.is_some_and(|child| child.claim.contends());
        self.rivals_changed(from, contends || contended, outbox);
    }

    /// Another one may have the effect now that one has come, changed or gone.
    fn rivals_changed(&mut self, whose: TransactionKey, contends: bool, outbox: &mut Vec<Mail>) {
        // Whoever claims later in this epoch is told for its claim, so once is enough for all.
        if contends && !std::mem::replace(&mut self.rivals_told, true) {
            let rivals = self.state.links.children.iter();
            let rivals = rivals.filter(|(key, child)| **key != whose && child.claim.contends());
            for rival in rivals.map(|(key, _)| *key).collect::<Vec<_>>() {
                if self.tell.insert(rival) {
                    self.send(rival, Message::Invalidate, outbox);
                }
            }
        }
    }

    /// Takes those who wait and can be answered: all once we are settled, before only those who
    /// ask for no more than our kind.
    fn take_answerable(&mut self) -> BTreeSet<TransactionKey> {
        let mut tell = std::mem::take(&mut self.tell);
        if !tell.is_empty() && !self.settled() {
            let children = &self.state.links.children;
            let reverses = |key: &TransactionKey| {
                children.get(key).is_some_and(|child| child.claim.kind == Kind::Reverse)
            };
            self.tell = tell.iter().copied().filter(reverses).collect();
            tell.retain(|key| !self.tell.contains(key));
        }
        tell
    }

    /// Answers everyone who waits and can be answered.
    pub(crate) fn answer(&mut self, outbox: &mut Vec<Mail>) {
        let tell = self.take_answerable();
        if tell.is_empty() {
            return;
        }
        let links = &self.state.links;
        let (kind, lines, gross) = with_fold(&self.state, |fold| match fold {
            None => (None, Vec::new(), ByCurrency::new()),
            Some(fold) => {
                let standing = standing(fold, links);
                let mut lines = Vec::new();
                fold.lines(&standing, |line| lines.push(line.to_posting()));
                let gross = fold.meaning(&standing, &Inflows::default()).grosses();
                (fold.opening.map(|opening| opening.kind), lines, gross)
            }
        });
        let may = |claim: &Claim| {
            claim.contends() && kind.is_some_and(|kind| claim.kind.may_link_to(kind))
        };
        let winner = senior(links, may);
        for child in tell {
            let claim = links.children.get(&child).map(|child| &child.claim);
            let derivation = match (claim, winner) {
                (Some(claim), Some((winner, _))) if winner == child && claim.derives => {
                    Derivation::Lines(lines.clone())
                }
                (Some(claim), Some((winner, before))) if winner != child && may(claim) => {
                    if claim.kind.resolves() {
                        Derivation::Resolved(before.transaction_id.clone())
                    } else {
                        Derivation::Lost(gross.clone())
                    }
                }
                _ => Derivation::None,
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
        let nets = with_fold(&self.state, |fold| {
            let standing = fold.map(|fold| (fold, standing(fold, links)));
            match standing.filter(|(fold, standing)| has_effect(fold, standing)) {
                None => Some(ByCurrency::new()),
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
