//! `sequence_gap`: numbers of a service's sequence that have not arrived.
//!
//! In: the continuity of services. Out: rows of `imbalances`. Subject: the service; amount: how
//! many are missing, as a whole number. State: none.

use differential_dataflow::VecCollection;
use trueup_ledger::{Scale, View};

use super::Finding;
use crate::publish::tabulate;
use crate::transactions::Tables;
use crate::views::source_continuity::{Continuity, Service};

/// Builds the detector.
pub(crate) fn sequence_gap<'s>(
    continuities: VecCollection<'s, u64, (Service, Continuity), isize>,
    scale: Scale,
) -> Tables<'s> {
    tabulate(continuities, View::Imbalances, move |((tenant, service), state), table, diff| {
        if state.missing > 0 {
            let detail = format!(
                r#"{{"contiguous_through":"{}","max_sequence":"{}"}}"#,
                state.contiguous_through, state.max
            );
            let finding = Finding {
                tenant,
                detector: "sequence_gap",
                subject: service,
                currency: "",
                amount: i128::from(state.missing) * scale.one(),
                severity: "warning",
                detail: &detail,
            };
            finding.push(table, diff);
        }
    })
}
