//! The same files, read by the real `configparser` where there is a Python.

use super::{Reading, cases, properties, reading};
use oauth::document::Document;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use serde_json::Value;
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Reads files (hexadecimal, in a JSON list) as the Python tool does, and says what it found or in which lines it failed.
const SCRIPT: &str = r#"
import configparser, io, json, sys
found = []
for data in json.load(sys.stdin):
    parser = configparser.ConfigParser(interpolation=None)
    text = io.TextIOWrapper(io.BytesIO(bytes.fromhex(data)), encoding="utf-8")
    try:
        parser.read_file(text)
    except configparser.ParsingError as error:
        lines = [line for line, _ in getattr(error, "errors", [])] or [error.lineno]
        found.append({"lines": lines})
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
        found.append({"lines": [error.lineno]})
    except UnicodeDecodeError:
        found.append({"lines": []})
    else:
        defaults = list(parser.defaults().items())
        sections = [["DEFAULT", defaults]] if defaults else []
        for name in parser.sections():
            sections.append([name, list(parser._sections[name].items())])
        found.append({"sections": sections})
json.dump(found, sys.stdout)
"#;

/// What Python makes of each file; `None` where there is no Python.
fn python(files: &[&[u8]]) -> Option<Vec<Value>> {
    let child = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no python3 to compare with");
        return None;
    };
    let hex: Vec<String> = files
        .iter()
        .map(|file| file.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    let input = serde_json::to_vec(&hex).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn compare(file: &[u8], python: &Value, name: &str) {
    match (Document::parse(file), python.get("sections")) {
        (Ok(document), Some(sections)) => {
            let theirs: Reading = serde_json::from_value(sections.clone()).unwrap();
            assert_eq!(
                reading(&document),
                theirs,
                "{name}: {:?}",
                String::from_utf8_lossy(file)
            );
        }
        (Err(ours), None) => {
            let lines: Vec<usize> = serde_json::from_value(python["lines"].clone()).unwrap();
            for line in lines {
                let found = ours.iter().any(|error| error.line == line);
                assert!(
                    found,
                    "{name}: Python complains of line {line}, we of {ours:?}"
                );
            }
        }
        (Ok(_), None) => panic!(
            "{name}: only Python refuses {:?}",
            String::from_utf8_lossy(file)
        ),
        (Err(e), Some(_)) => panic!(
            "{name}: only we refuse {:?}: {e:?}",
            String::from_utf8_lossy(file)
        ),
    }
}

#[test]
fn edge_cases_are_read_as_python_reads_them() {
    let cases = cases::CASES;
    let inputs: Vec<&[u8]> = cases.iter().map(|case| case.input).collect();
    let Some(found) = python(&inputs) else { return };
    assert_eq!(found.len(), cases.len());
    for (case, found) in cases.iter().zip(&found) {
        if case.beyond_python {
            assert!(
                found.get("sections").is_none(),
                "{}: Python reads it now",
                case.name
            );
        } else {
            compare(case.input, found, case.name);
        }
    }
}

#[test]
fn any_file_is_read_as_python_reads_it_before_and_after_a_change() {
    let mut runner = TestRunner::deterministic();
    let mut files = Vec::new();
    for _ in 0..3000 {
        let text = properties::files().new_tree(&mut runner).unwrap().current();
        let (section, option, value) = properties::changes()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        if let Ok(mut document) = Document::parse(text.as_bytes()) {
            document.set(&section, &option, &value).unwrap();
            files.push(document.text().to_owned().into_bytes());
        }
        files.push(text.into_bytes());
    }
    assert!(
        files.len() > 3500,
        "too few of the files are readable: {}",
        files.len() - 3000
    );
    let inputs: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let Some(found) = python(&inputs) else { return };
    assert_eq!(found.len(), files.len());
    for (file, found) in files.iter().zip(&found) {
        compare(file, found, "generated");
    }
}
