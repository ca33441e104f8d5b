//! Totals made into the text that Prometheus scrapes.
//!
//! | module | what it does |
//! |---|---|
//! | [`catalog`] | one row per metric; [`labels`] has the label values that only metrics have |
//! | [`host_totals`] | snapshots made into totals that never go down |
//! | [`exposition`] | what one scrape shows, as data in nanoseconds |
//! | [`text`] | that data as the catalog's rows, in base units and in Prometheus's text format |

pub mod catalog;
pub mod exposition;
pub(crate) mod host_totals;
pub mod labels;
pub mod text;
