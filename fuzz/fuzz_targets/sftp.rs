//! Fuzzes the parser of SFTP server replies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot_loaders::deploy::sftp::read_answer;

fuzz_target!(|packet: &[u8]| read_answer(packet));
