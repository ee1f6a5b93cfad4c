//! Results of a boot test: `report.json`, and the same as an HTML page.

pub mod html;
pub mod json;
