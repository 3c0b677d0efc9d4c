//! The lossless document: read as Python's configparser reads, written back without touching anything else.

mod cases;
mod editing;
mod properties;
mod python;

use oauth::document::{DEFAULT, Document};

/// Sections and options as `configparser` keeps them: `DEFAULT` first where it has options, its parts merged.
type Reading = Vec<(String, Vec<(String, String)>)>;

fn reading(document: &Document) -> Reading {
    let options = |section: &oauth::document::Section| -> Vec<(String, String)> {
        section
            .entries()
            .map(|e| (e.name().to_owned(), e.value().to_owned()))
            .collect()
    };
    let (defaults, sections): (Vec<_>, Vec<_>) = document
        .sections()
        .partition(|section| section.name() == DEFAULT);
    let defaults: Vec<_> = defaults.into_iter().flat_map(options).collect();
    let mut all = Vec::new();
    if !defaults.is_empty() {
        all.push((DEFAULT.to_owned(), defaults));
    }
    all.extend(
        sections
            .into_iter()
            .map(|section| (section.name().to_owned(), options(section))),
    );
    all
}
