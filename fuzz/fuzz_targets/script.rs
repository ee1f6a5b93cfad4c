//! Fuzzes script templates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::config::script::{Script, ScriptRules};
use netboot_loaders::config::template::Template;
use netboot_stamp::slot::SlotSize;

fuzz_target!(|data: &[u8]| {
    if let Ok(template) = Template::new("a.ipxe".into(), "a.ipxe".into(), data) {
        let rules = ScriptRules { size: SlotSize::DEFAULT, grow: true, unknown_commands: true };
        let _ = Script::check(&template, Some("rack-1"), &Default::default(), rules);
    }
});
