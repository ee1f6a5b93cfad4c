//! What a boot test came to: `report.json`, and the same as a page.

pub mod html;
pub mod json;
