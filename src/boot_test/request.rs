//! What to boot, and how.

use std::time::Duration;

use camino::Utf8Path;

use super::case::Intent;
use super::machine::Accelerator;
use super::network::TestNetwork;
use super::selection::Selection;
use super::tools::TestTools;

/// What to boot, and how.
pub struct BootTestRequest<'a> {
    /// What machines and servers are made of.
    pub tools: &'a TestTools,
    /// The addresses.
    pub network: TestNetwork,
    /// Which cases.
    pub selection: &'a Selection,
    /// Where loaders are meant to go.
    pub intent: &'a Intent,
    /// How many cases run side by side.
    pub jobs: usize,
    /// How the processors of the machines are made.
    pub accelerator: Accelerator,
    /// How long a case may take.
    pub deadline: Duration,
    /// How often a case is tried until it passes.
    pub attempts: u32,
    /// How many processors there are.
    pub processors: usize,
    /// More arguments for the kernel.
    pub append: &'a str,
    /// The folder that the report goes to.
    pub report: &'a Utf8Path,
    /// A folder for temporary files.
    pub scratch: &'a Utf8Path,
}
