//! Dollars a month: what a load and what has gathered cost by the prices.

use super::MONTH_DAYS;
use super::inputs::Inputs;
use super::model::{Load, Stock};
use super::prices::Prices;

const HOURS: u128 = MONTH_DAYS * 24;
const GB: u128 = 1_000_000_000;

/// What a month costs, in billionths of a dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Cores.
    pub cores_nanodollars: u128,
    /// Memory.
    pub memory_nanodollars: u128,
    /// Local disks.
    pub disk_nanodollars: u128,
    /// Bytes in the store.
    pub store_nanodollars: u128,
    /// Requests that write.
    pub puts_nanodollars: u128,
    /// Requests that read.
    pub gets_nanodollars: u128,
    /// Requests that list.
    pub lists_nanodollars: u128,
    /// Bytes between zones.
    pub network_nanodollars: u128,
}

impl Bill {
    /// Computes the bill.
    #[must_use]
    pub fn of(inputs: &Inputs, prices: &Prices, load: &Load, stock: &Stock) -> Bill {
        let by_gb = |bytes: u128, price: u64| (bytes * u128::from(price)).div_ceil(GB);
        let by_1000 = |count: u128, price: u64| (count * u128::from(price)).div_ceil(1000);
        let carried = load.in_bytes_per_month + load.between_bytes_per_month;
        let crossing = super::percent_of(carried, u128::from(inputs.cross_zone_percent));
        Bill {
            cores_nanodollars: load.workers() * HOURS * u128::from(prices.vcpu_hour_nanodollars),
            memory_nanodollars: by_gb(load.memory_bytes * HOURS, prices.ram_gb_hour_nanodollars),
            disk_nanodollars: by_gb(stock.disk_bytes_provisioned, prices.ssd_gb_month_nanodollars),
            store_nanodollars: by_gb(stock.store_bytes(), prices.store_gb_month_nanodollars),
            puts_nanodollars: by_1000(load.puts_per_month, prices.put_per_1000_nanodollars),
            gets_nanodollars: by_1000(stock.gets_per_month, prices.get_per_1000_nanodollars),
            lists_nanodollars: by_1000(stock.lists_per_month, prices.list_per_1000_nanodollars),
            network_nanodollars: by_gb(crossing, prices.cross_zone_gb_nanodollars),
        }
    }

    /// Returns the sum.
    #[must_use]
    pub fn total_nanodollars(&self) -> u128 {
        self.cores_nanodollars
            + self.memory_nanodollars
            + self.disk_nanodollars
            + self.store_nanodollars
            + self.puts_nanodollars
            + self.gets_nanodollars
            + self.lists_nanodollars
            + self.network_nanodollars
    }
}
