//! The distinct texts of a column, numbered in the order in which they come first.

use hashbrown::HashMap;
use trueup_ledger::table::{ColumnData, Few};
use trueup_ledger::{Table, Value};

/// Returns the distinct texts of a column of some tables, and the number of that of each row, one table
/// after the other.
pub(crate) fn texts(tables: &[Table], column: usize) -> (Vec<&str>, Vec<u32>) {
    if let Some(mut numbers) = Numbers::of(tables, column) {
        let all = numbers.all();
        return (numbers.into_texts(), all);
    }
    let mut known = Known::default();
    let mut numbers = Vec::with_capacity(tables.iter().map(Table::len).sum());
    let mut last: Option<u32> = None;
    for table in tables {
        let column = &table.columns()[column];
        for row in 0..table.len() {
            let Value::Text(text) = column.value(row) else {
                unreachable!("{} has no texts there", table.view().name())
            };
            // It is mostly that of the row before.
            let same = last.filter(|number| known.texts[*number as usize] == text);
            let number = same.unwrap_or_else(|| known.number(text));
            last = Some(number);
            numbers.push(number);
        }
    }
    (known.texts, numbers)
}

/// Numbers for distinct texts.
#[derive(Default)]
struct Known<'t> {
    texts: Vec<&'t str>,
    numbers: HashMap<&'t str, u32>,
}

impl<'t> Known<'t> {
    fn number(&mut self, text: &'t str) -> u32 {
        // Rows of an epoch are far fewer than 2^32.
        let next = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.texts.push(text);
        }
        number
    }
}

/// Numbers for the texts of a column that has few distinct ones in every table. Not of all that a table
/// knows there is a row: some may have been removed.
pub(crate) struct Numbers<'t> {
    tables: Vec<&'t Few>,
    known: Known<'t>,
    /// For each table and each place in it the number, if the text has come.
    of_place: Vec<[Option<u32>; 256]>,
}

impl<'t> Numbers<'t> {
    /// Begins with none; `None` where a table has not only few.
    pub(crate) fn of(tables: &'t [Table], column: usize) -> Option<Numbers<'t>> {
        let few = tables.iter().map(|table| match &table.columns()[column] {
            ColumnData::Few(texts) => Some(texts),
            _ => None,
        });
        let tables: Vec<&Few> = few.collect::<Option<_>>()?;
        let of_place = vec![[None; 256]; tables.len()];
        Some(Numbers { tables, known: Known::default(), of_place })
    }

    /// Returns the number of the text of a row.
    pub(crate) fn at(&mut self, table: usize, row: usize) -> u32 {
        self.number(table, self.tables[table].places()[row])
    }

    /// Returns the number of the text of every row, one table after the other.
    pub(crate) fn all(&mut self) -> Vec<u32> {
        let mut numbers =
            Vec::with_capacity(self.tables.iter().map(|few| few.places().len()).sum());
        for table in 0..self.tables.len() {
            let places = self.tables[table].places();
            numbers.extend(places.iter().map(|place| self.number(table, *place)));
        }
        numbers
    }

    /// Returns the texts that have come, in the order of their numbers.
    pub(crate) fn into_texts(self) -> Vec<&'t str> {
        self.known.texts
    }

    fn number(&mut self, table: usize, place: u8) -> u32 {
        match self.of_place[table][usize::from(place)] {
            Some(number) => number,
            None => self.number_anew(table, place),
        }
    }

    #[cold]
    fn number_anew(&mut self, table: usize, place: u8) -> u32 {
        let number = self.known.number(self.tables[table].text(usize::from(place)));
        self.of_place[table][usize::from(place)] = Some(number);
        number
    }
}

#[cfg(test)]
mod tests {
    use trueup_ledger::View;

    use super::*;

    /// A table whose rows have the given tenants.
    fn table(tenants: &[String]) -> Table {
        let mut table = Table::new(View::TrialBalance);
        for tenant in tenants {
            let amount = Value::Amount(1);
            let row = [Value::Text(tenant), Value::Text("EUR"), amount, amount, amount];
            table.push(&row, 1);
        }
        table
    }

    #[test]
    fn texts_are_numbered_in_the_order_in_which_they_come_first() {
        let tenants = |numbers: &mut dyn Iterator<Item = u32>| -> Vec<String> {
            numbers.map(|number| format!("tenant {number}")).collect()
        };
        let few = tenants(&mut [5, 5, 2, 7, 5, 2].into_iter());
        let others = tenants(&mut [9, 2, 2, 8].into_iter());
        let many = tenants(&mut (0..600).map(|row| row * 7 % 300));
        for columns in [vec![], vec![&few], vec![&few, &others], vec![&few, &many, &others]] {
            let mut tables: Vec<Table> = columns.iter().map(|tenants| table(tenants)).collect();
            // A text whose only row is gone is not among them.
            tables.iter_mut().for_each(|table| table.remove(&[3]));
            let left = columns
                .iter()
                .flat_map(|tenants| [&tenants[..3], tenants.get(4..).unwrap_or_default()]);
            let left: Vec<&str> = left.flatten().map(String::as_str).collect();
            let (texts, numbers) = texts(&tables, 0);
            let read: Vec<&str> = numbers.iter().map(|number| texts[*number as usize]).collect();
            assert_eq!(read, left);
            let firsts = (0..left.len()).filter(|row| !left[..*row].contains(&left[*row]));
            assert_eq!(texts, firsts.map(|row| left[row]).collect::<Vec<_>>());
        }
    }
}
