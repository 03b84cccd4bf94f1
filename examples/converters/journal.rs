//! Reads a journal in the formats of hledger and beancount as far as it says what moved.
//!
//! What moves money and is not understood is an error, with its line. Directives that move nothing
//! are counted in [`Journal::skipped`]. Left out: files that journals include, automatic and
//! periodic postings, lots without a cost; `hledger print` writes most of these out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use jiff::civil::Date;

use super::journal_amount::{Money, Spelling};
use super::journal_text::{
    DECIMAL_COMMA, HARMLESS, HARMLESS_DATED, date, first_word, is_decimal_comma, is_metadata,
    uncommented,
};

/// A posting; what is elided has no amount.
pub(crate) struct Posting {
    pub(crate) account: String,
    pub(crate) amount: Option<Money>,
    /// What the amount is worth by its price or cost, where one is given.
    pub(crate) worth: Option<Money>,
}

/// A transaction, with the line on which it begins.
pub(crate) struct Transaction {
    pub(crate) line: usize,
    pub(crate) date: Date,
    pub(crate) description: String,
    pub(crate) postings: Vec<Posting>,
}

/// An account that is declared, in beancount since a date.
pub(crate) struct Declared {
    pub(crate) line: usize,
    pub(crate) since: Option<Date>,
    pub(crate) account: String,
}

/// What a file says, in its order.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) declared: Vec<Declared>,
    /// What moves no money and is left out: how often, and the first line.
    pub(crate) skipped: BTreeMap<String, (usize, usize)>,
    spelling: Spelling,
    below: Below,
}

/// What indented lines belong to.
#[derive(Clone, Copy, Default, PartialEq)]
enum Below {
    #[default]
    Nothing,
    Transaction {
        beancount: bool,
    },
    Directive,
    /// A directive of beancount, below which there is metadata only.
    Dated,
    /// Anything, up to `end comment`.
    Comment,
}

/// Reads a whole journal.
pub(crate) fn read(text: &str) -> Result<Journal> {
    let mut journal = Journal::default();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        journal.line(number, line).map_err(|error| anyhow!("line {number}: {error}"))?;
    }
    if journal.below == Below::Comment {
        bail!("a comment is not ended; write `end comment` behind it");
    }
    Ok(journal)
}

impl Journal {
    /// The commodities that are written otherwise than in the journal, and how.
    pub(crate) fn renamed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spelling.renamed()
    }

    fn line(&mut self, number: usize, line: &str) -> Result<()> {
        let text = line.trim();
        if self.below == Below::Comment {
            if text == "end comment" {
                self.below = Below::Nothing;
            }
            return Ok(());
        }
        match text.chars().next() {
            None => self.below = Below::Nothing,
            Some(';' | '#') => {}
            _ if line.starts_with([' ', '\t']) => return self.indented(number, text),
            Some('*' | '%') => self.below = Below::Nothing,
            Some('0'..='9') => return self.dated(number, text),
            Some('~') => self.skip(number, "periodic rule (~)"),
            Some('=') => self.skip(number, "automatic posting rule (=)"),
            _ => return self.directive(number, text),
        }
        Ok(())
    }

    fn skip(&mut self, number: usize, what: &str) {
        self.count(number, what);
        self.below = Below::Directive;
    }

    fn count(&mut self, number: usize, what: &str) {
        self.skipped.entry(what.to_owned()).or_insert((0, number)).0 += 1;
    }

    fn directive(&mut self, number: usize, text: &str) -> Result<()> {
        let (word, rest) = first_word(text.trim_start_matches(['!', '@']));
        match word {
            "comment" | "test" => self.below = Below::Comment,
            "account" => {
                let account = uncommented(rest).split("  ").next().unwrap_or_default();
                let account = account.split('\t').next().unwrap_or_default().trim().to_owned();
                self.declared.push(Declared { line: number, since: None, account });
                self.below = Below::Directive;
            }
            "include" => bail!(
                "`include` is not followed; convert what `hledger print` writes, which is the \
                 whole, or join the files of beancount"
            ),
            "alias" | "A" => bail!("`{word}` changes entries; convert what `hledger print` writes"),
            "apply" if !rest.starts_with("tag") && !rest.starts_with("year") => {
                bail!("`apply` changes entries; convert what `hledger print` writes")
            }
            "decimal-mark" if rest.starts_with(',') => bail!("{DECIMAL_COMMA}"),
            "commodity" | "D" if is_decimal_comma(rest) => bail!("{DECIMAL_COMMA}"),
            _ if HARMLESS.contains(&word) => self.skip(number, word),
            _ => bail!("`{word}` is not understood; take the line out if it moves no money"),
        }
        Ok(())
    }

    /// A line that begins with a date: a transaction, or a directive of beancount.
    fn dated(&mut self, number: usize, text: &str) -> Result<()> {
        let (date_text, rest) = first_word(text);
        let (date_text, second) = date_text.split_once('=').unwrap_or((date_text, ""));
        let date = date(date_text)?;
        let (word, after) = first_word(rest);
        self.below = Below::Dated;
        match word {
            "open" if first_word(after).0.contains(':') => {
                let account = first_word(after).0.to_owned();
                self.declared.push(Declared { line: number, since: Some(date), account });
            }
            "pad" if first_word(after).0.contains(':') => {
                bail!("`pad` makes an entry of its own; write that entry out and take `pad` away")
            }
            _ if HARMLESS_DATED.contains(&word) => self.count(number, word),
            _ => {
                if !second.is_empty() {
                    self.count(number, "secondary date");
                }
                let flagged = if matches!(word, "*" | "!" | "txn") { after } else { rest };
                let beancount = flagged.starts_with('"');
                let description = uncommented(flagged).trim().to_owned();
                let postings = Vec::new();
                self.transactions.push(Transaction { line: number, date, description, postings });
                self.below = Below::Transaction { beancount };
            }
        }
        Ok(())
    }

    fn indented(&mut self, number: usize, text: &str) -> Result<()> {
        match self.below {
            Below::Directive if text.starts_with("format") && is_decimal_comma(text) => {
                bail!("{DECIMAL_COMMA}")
            }
            Below::Directive | Below::Comment => Ok(()),
            Below::Dated if is_metadata(text) => Ok(()),
            // To hledger a name with a colon is an account.
            Below::Transaction { beancount: true } if is_metadata(text) => Ok(()),
            Below::Transaction { beancount } => self.posting(number, text, beancount),
            Below::Dated => bail!(
                "a posting below a directive; if this is a transaction, write `*` behind its date"
            ),
            Below::Nothing => {
                bail!("an indented line that belongs to nothing; begin it at the left")
            }
        }
    }

    fn posting(&mut self, number: usize, text: &str, beancount: bool) -> Result<()> {
        if text.contains(';') && text.contains("date:") {
            self.count(number, "date of a posting");
        }
        let text = uncommented(text).trim();
        let text = text.strip_prefix(['*', '!']).map_or(text, str::trim_start);
        if text.starts_with(['(', '[']) {
            bail!("a virtual posting; convert what `hledger print --real` writes");
        }
        let (account, amount) = if beancount {
            first_word(text)
        } else {
            let blanks = text.find("  ").into_iter().chain(text.find('\t')).min();
            text.split_at(blanks.unwrap_or(text.len()))
        };
        if !beancount && amount.is_empty() {
            let parts: Vec<&str> = account.split(' ').collect();
            let tail = (1..parts.len()).map(|at| parts[at..].join(" "));
            if tail.into_iter().any(|tail| self.spelling.price(&tail, false).is_ok()) {
                bail!("one blank before the amount makes it part of the account; write two");
            }
        }
        let (amount, asserted) = amount.split_once('=').map_or((amount, false), |(a, _)| (a, true));
        if asserted {
            self.count(number, "balance assertion");
            if amount.trim().is_empty() {
                bail!("a balance assignment; convert what `hledger print -x` writes");
            }
        }
        let found = match amount.trim() {
            "" => None,
            amount => Some(self.spelling.price(amount, beancount)?),
        };
        let (amount, worth) = found.map_or((None, None), |(amount, worth)| (Some(amount), worth));
        let account = account.trim().to_owned();
        let transaction = self.transactions.last_mut().context("no transaction is open")?;
        transaction.postings.push(Posting { account, amount, worth });
        Ok(())
    }
}
