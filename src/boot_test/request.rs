//! Request for a boot test.

use std::time::Duration;

use camino::Utf8Path;

use super::case::Intent;
use super::machine::Accelerator;
use super::network::TestNetwork;
use super::secure_tools::SecureMachines;
use super::selection::Selection;
use super::tools::TestTools;

/// Request for a boot test: what to boot, and how.
pub struct BootTestRequest<'a> {
    /// Tools that machines and servers consist of.
    pub tools: &'a TestTools,
    /// What machines with Secure Boot need in addition; empty if there are none.
    pub secure: &'a SecureMachines,
    /// The test network.
    pub network: TestNetwork,
    /// Cases to run.
    pub selection: &'a Selection,
    /// Where loaders are expected to go.
    pub intent: &'a Intent,
    /// Number of cases that run in parallel.
    pub jobs: usize,
    /// How QEMU runs the processors of the machines.
    pub accelerator: Accelerator,
    /// Time limit for a case.
    pub deadline: Duration,
    /// Maximum number of attempts until a case passes.
    pub attempts: u32,
    /// Number of processors.
    pub processors: usize,
    /// Additional kernel arguments.
    pub append: &'a str,
    /// The day that the machines' clocks start with, as year, month and day; the host's time if absent.
    pub clock: Option<(i16, i8, i8)>,
    /// Folder for the report.
    pub report: &'a Utf8Path,
    /// Folder for temporary files.
    pub scratch: &'a Utf8Path,
}
