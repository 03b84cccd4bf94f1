//! The objects within a record: which fields each has, and what becomes of them.

use serde::de::MapAccess;
use trueup_ledger::{
    AccountDraft, ControlDraft, ControlSumDraft, PostingDraft, SourceDraft, StatementDraft,
};

use super::{Field, Object, Values};

fields!(SourceField {
    Service = "service",
    Sequence = "sequence",
});

impl<'de> Object<'de> for SourceDraft<'de> {
    type Field = SourceField;

    fn read<A>(&mut self, field: SourceField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            SourceField::Service => self.service = values.text()?,
            SourceField::Sequence => self.sequence = values.integer()?,
        }
        Ok(())
    }
}

fields!(AccountField {
    Name = "name",
    NormalSide = "normal_side",
    Overdraft = "overdraft",
});

impl<'de> Object<'de> for AccountDraft<'de> {
    type Field = AccountField;

    fn read<A>(&mut self, field: AccountField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            AccountField::Name => self.name = values.text()?,
            AccountField::NormalSide => self.normal_side = values.text()?,
            AccountField::Overdraft => self.overdraft = values.text()?,
        }
        Ok(())
    }
}

fields!(PostingField {
    Account = "account",
    Side = "side",
    Amount = "amount",
    Currency = "currency",
});

impl<'de> Object<'de> for PostingDraft<'de> {
    type Field = PostingField;

    fn read<A>(&mut self, field: PostingField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            PostingField::Account => self.account = values.text()?,
            PostingField::Side => self.side = values.text()?,
            PostingField::Amount => self.amount = values.text()?,
            PostingField::Currency => self.currency = values.text()?,
        }
        Ok(())
    }
}

fields!(StatementField {
    Processor = "processor",
    Reference = "reference",
    Amount = "amount",
    Currency = "currency",
    ValueDate = "value_date",
});

impl<'de> Object<'de> for StatementDraft<'de> {
    type Field = StatementField;

    fn read<A>(&mut self, field: StatementField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            StatementField::Processor => self.processor = values.text()?,
            StatementField::Reference => self.reference = values.text()?,
            StatementField::Amount => self.amount = values.text()?,
            StatementField::Currency => self.currency = values.text()?,
            StatementField::ValueDate => self.value_date = values.text()?,
        }
        Ok(())
    }
}

fields!(ControlField {
    FromSequence = "from_sequence",
    ToSequence = "to_sequence",
    Count = "count",
    Totals = "totals",
});

impl<'de> Object<'de> for ControlDraft<'de> {
    type Field = ControlField;

    fn read<A>(&mut self, field: ControlField, values: &mut Values<'_, A>) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            ControlField::FromSequence => self.from_sequence = values.integer()?,
            ControlField::ToSequence => self.to_sequence = values.integer()?,
            ControlField::Count => self.count = values.integer()?,
            ControlField::Totals => self.totals = values.totals()?,
        }
        Ok(())
    }
}

fields!(ControlSumField {
    Debit = "debit",
    Credit = "credit",
});

impl<'de> Object<'de> for ControlSumDraft<'de> {
    type Field = ControlSumField;

    fn read<A>(
        &mut self,
        field: ControlSumField,
        values: &mut Values<'_, A>,
    ) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
    {
        match field {
            ControlSumField::Debit => self.debit = values.text()?,
            ControlSumField::Credit => self.credit = values.text()?,
        }
        Ok(())
    }
}
