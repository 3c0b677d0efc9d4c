//! What the page names as proofs of its rules and limits.

use super::page::{Row, code, page, tables};
use harness::transcript;
use proxy_proto::Limits;
use std::path::Path;

/// The rows of the tables whose first column has this name.
fn rows_of(column: &str) -> Vec<Row> {
    let tables = tables(&page()).into_iter();
    let wanted = tables.filter(|(_, rows)| rows[0].1[0] == column);
    wanted
        .flat_map(|(_, rows)| rows.into_iter().skip(1))
        .collect()
}

/// What a cell names as a proof: transcripts, or files of the repository. All of them are there.
fn proofs(line: usize, cell: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = cell.split(", ").map(|name| code(name).unwrap().to_owned());
    let names: Vec<String> = names.collect();
    for name in &names {
        let file = match name.ends_with(".rs") {
            true => root.join(name),
            false => root.join(format!("tests/transcripts/{name}.txt")),
        };
        assert!(
            file.is_file(),
            "line {line}: there is no {}",
            file.display()
        );
    }
    names
}

/// Every rule is proved by transcripts that are there, or it says who keeps it; every limit is hit by some. No transcript
/// that was written for a rule is left out.
#[test]
fn rules_have_their_transcripts() {
    const LIMITS: &str = "see the limits below";
    let rules = rows_of("Rule");
    let limits = rows_of("Limit");
    let mut named = Vec::new();
    for (line, cells) in &rules {
        if cells[2] != LIMITS {
            named.extend(proofs(*line, &cells[2]));
        }
    }
    for (line, cells) in &limits {
        named.extend(proofs(*line, &cells[1]));
    }

    let page = page();
    for rule in 1..=9 {
        let proved = rules.iter().any(|(_, cells)| cells[0] == rule.to_string());
        assert!(proved || page.contains(&format!("({rule})")), "rule {rule}");
    }
    let shown = format!("{:?}", Limits::default());
    let fields = shown.split(['{', ',', '}']).skip(1).filter_map(|field| {
        let (name, _) = field.split_once(':')?;
        Some(name.trim().to_owned())
    });
    let listed: Vec<String> = limits
        .iter()
        .map(|(_, cells)| code(&cells[0]).unwrap().to_owned())
        .collect();
    assert_eq!(listed, fields.collect::<Vec<_>>());

    let marks = [
        "limit_",
        "timeout_",
        "injection",
        "preauth",
        "not_offered",
        "tls_refused",
        "stls_refused",
        "bare_newline",
        "control_characters",
        "dialogue",
        "during_handshake",
    ];
    for transcript in transcript::all().unwrap() {
        let name = transcript.name.trim_end_matches(".txt");
        let written_for_a_rule = marks.iter().any(|mark| name.contains(mark));
        assert!(
            !written_for_a_rule || named.iter().any(|proof| proof == name),
            "{name} proves no rule of docs/protocols.md"
        );
    }
}
