//! iPXE as people make it: a source tree, and make with its usual arguments.

use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_loaders::build_loaders;
use netboot_loaders::choices::loader::Loader;
use netboot_loaders::fs;
use netboot_loaders::process::Command;
use netboot_loaders::progress::Silent;
use netboot_loaders::source::ipxe::{Order, Source};

use super::{LOADERS, Setting};
use crate::exit::Failure;
use crate::host::processors;

/// A source tree.
pub(super) struct Stock<'a> {
    setting: &'a Setting<'a>,
    root: Utf8PathBuf,
}

impl<'a> Stock<'a> {
    /// A fresh one in `root`, as a clone would be.
    pub fn fresh(root: Utf8PathBuf, setting: &'a Setting<'a>) -> Result<Self, Failure> {
        let pin = &setting.inputs.pins.ipxe;
        let source = Source::open(pin, &setting.cache, &[], &Silent).map_err(build_loaders::Error::from)?;
        source.export(&root.join("ipxe"), pin.epoch, Order::Sorted, &Silent).map_err(build_loaders::Error::from)?;
        Ok(Self { setting, root })
    }

    /// One in which all loaders were made before. It is kept for the next measurement.
    pub fn built(setting: &'a Setting<'a>) -> Result<Self, Failure> {
        let root = setting.scratch.join("stock");
        let inputs = &setting.inputs;
        let made = format!("{} {}\n", inputs.pins.ipxe.commit, inputs.toolchain.digest(false));
        let mark = root.join("made");
        if fs::read_if_exists(&mark)?.is_some_and(|found| found == made.as_bytes()) {
            return Ok(Self { setting, root });
        }
        setting.say("making loaders with stock make once, to have a tree that is built");
        let stock = Self::fresh(setting.room("stock")?, setting)?;
        let script = stock.script("first", "#!ipxe\nshell\n")?;
        stock.make(&script, &LOADERS)?;
        // The first make of a second platform touches headers, so that the first one is compiled once more.
        stock.make(&script, &LOADERS)?;
        fs::write_atomic(&mark, made.as_bytes())?;
        Ok(stock)
    }

    /// A script to embed.
    pub fn script(&self, name: &str, text: &str) -> Result<Utf8PathBuf, Failure> {
        let path = self.root.join("scripts").join(format!("{name}.ipxe"));
        fs::write_atomic(&path, text.as_bytes())?;
        Ok(path)
    }

    /// What a person types: `make -jN EMBED=SCRIPT` and the loaders. Returns the seconds.
    pub fn make(&self, script: &Utf8Path, loaders: &[Loader]) -> Result<f64, Failure> {
        let host = self.setting.host;
        let mut make = Command::new("make loaders as people do", "make")
            .args([format!("-j{}", processors()), format!("EMBED={script}")])
            .args(loaders.iter().map(|loader| loader.target()))
            .env("PATH", host.path.as_str());
        make.dir = Some(self.root.join("ipxe/src"));
        make.deadline = Duration::from_secs(3600);
        let started = Instant::now();
        make.output(host.ui)?;
        Ok(started.elapsed().as_secs_f64())
    }
}
