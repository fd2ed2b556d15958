//! The crate as its callers see it.

mod interpolation;
mod properties;
mod rendering;
mod section;
mod yaml;

use trunkline_config::{Diagnostics, Document};

/// The environment of reference section 1.2: A=aval, N=5672, B=true, E empty, D with a dollar sign, U unset.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "A" => "aval",
        "N" => "5672",
        "B" => "true",
        "E" => "",
        "D" => "pa$A $word",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str, diagnostics: &Diagnostics) -> Option<Document> {
    Document::parse("endpoints.yml", text, &environment, diagnostics)
}

/// The problems as `line:column severity path: message`, one per line.
fn problems(diagnostics: &Diagnostics) -> String {
    let lines = diagnostics.sorted().into_iter().map(|d| {
        let severity = format!("{:?}", d.severity).to_lowercase();
        format!("{}:{} {severity} {}: {}\n", d.line, d.column, d.path, d.message)
    });
    lines.collect()
}
