//! The secret's text: a JSON object of accounts, each an object of options.

use crate::{
    messages::aws as messages,
    store::{Saved, Update},
};
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Accounts and their options as the secret holds them. What is not the proxy's own stays as it was written: of an account that is not
/// touched every byte, of one that is touched every other option.
#[derive(Clone, Default)]
pub(super) struct Contents(BTreeMap<String, Box<RawValue>>);

type Options = BTreeMap<String, Box<RawValue>>;

/// What is wrong with the text. It quotes nothing of it.
#[derive(Debug)]
pub(super) struct Unfit(pub(super) String);

impl Contents {
    /// An empty text is an empty object.
    pub(super) fn parse(text: &str) -> Result<Contents, Unfit> {
        if text.trim().is_empty() {
            return Ok(Contents::default());
        }
        serde_json::from_str(text)
            .map(Contents)
            .map_err(|error| Unfit(messages::not_json(error.line(), error.column())))
    }

    pub(super) fn text(&self) -> String {
        let mut text = "{".to_owned();
        for (heading, value) in &self.0 {
            if text.len() > 1 {
                text.push_str(", ");
            }
            text.push_str(&serde_json::Value::from(heading.as_str()).to_string());
            text.push_str(": ");
            text.push_str(value.get());
        }
        text + "}"
    }

    pub(super) fn headings(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// What is saved of one account; nothing where it is missing.
    pub(super) fn saved(&self, heading: &str) -> Result<Saved, Unfit> {
        let options = self.options(heading)?;
        let mut saved = Saved::default();
        for (option, field) in saved.fields() {
            *field = find(&options, option).and_then(|(_, value)| plain(value));
        }
        Ok(saved)
    }

    /// The same with these changes made; none where nothing but `last_activity` would change.
    pub(super) fn with<'a>(
        &self,
        updates: impl IntoIterator<Item = &'a Update>,
    ) -> Result<Option<Self>, Unfit> {
        let mut contents = self.clone();
        let mut worth_writing = false;
        for Update {
            heading, changes, ..
        } in updates
        {
            let mut options = contents.options(heading)?;
            for change in changes {
                let old = find(&options, change.option);
                let new = change.value.as_deref().filter(|value| !value.is_empty());
                if old.and_then(|(_, value)| plain(value)).as_deref() == new {
                    continue;
                }
                worth_writing |= change.option != "last_activity";
                if let Some(name) = old.map(|(name, _)| name.to_owned()) {
                    options.remove(&name);
                }
                if let Some(value) = new {
                    options.insert(change.option.to_owned(), raw(heading, &value)?);
                }
            }
            contents.set(heading, options)?;
        }
        Ok(worth_writing.then_some(contents))
    }

    /// Removes the access token that ends first, of those that have a refresh token beside them; `false` where there is none.
    pub(super) fn shed(&mut self) -> Result<bool, Unfit> {
        let mut first: Option<(u64, String)> = None;
        for heading in self.0.keys() {
            // what is no account has no token
            let Ok(saved) = self.saved(heading) else {
                continue;
            };
            if saved.access_token.is_none() || saved.refresh_token.is_none() {
                continue;
            }
            let expiry = saved.access_token_expiry;
            let end = expiry.and_then(|end| end.trim().parse().ok()).unwrap_or(0);
            if first.as_ref().is_none_or(|(earliest, _)| end < *earliest) {
                first = Some((end, heading.clone()));
            }
        }
        let Some((_, heading)) = first else {
            return Ok(false);
        };
        let mut options = self.options(&heading)?;
        for option in ["access_token", "access_token_expiry"] {
            if let Some(name) = find(&options, option).map(|(name, _)| name.to_owned()) {
                options.remove(&name);
            }
        }
        self.set(&heading, options)?;
        Ok(true)
    }

    /// The same with what `theirs` has made of `base`, except where this one has changed the same option.
    pub(super) fn carrying(&self, base: &Self, theirs: &Self) -> Result<Self, Unfit> {
        let mut contents = self.clone();
        for heading in base.0.keys().chain(theirs.0.keys()) {
            if get(&base.0, heading) == get(&theirs.0, heading) {
                continue;
            }
            let (before, after) = (base.options(heading)?, theirs.options(heading)?);
            let mut options = contents.options(heading)?;
            for option in before.keys().chain(after.keys()) {
                let (old, new) = (get(&before, option), get(&after, option));
                if old == new || get(&options, option) != old {
                    continue;
                }
                match after.get(option) {
                    Some(value) => options.insert(option.clone(), value.clone()),
                    None => options.remove(option),
                };
            }
            contents.set(heading, options)?;
        }
        Ok(contents)
    }

    fn options(&self, heading: &str) -> Result<Options, Unfit> {
        let Some(value) = self.0.get(heading) else {
            return Ok(Options::new());
        };
        serde_json::from_str(value.get()).map_err(|_| Unfit(messages::entry_not_json(heading)))
    }

    /// Rewrites the entry only where an option has changed.
    fn set(&mut self, heading: &str, options: Options) -> Result<(), Unfit> {
        let old = self.options(heading)?;
        let same = old.len() == options.len()
            && options
                .keys()
                .all(|option| get(&old, option) == get(&options, option));
        if same {
            return Ok(());
        }
        if options.is_empty() {
            self.0.remove(heading);
        } else {
            let value = raw(heading, &options)?;
            self.0.insert(heading.to_owned(), value);
        }
        Ok(())
    }
}

fn get<'a>(map: &'a BTreeMap<String, Box<RawValue>>, key: &str) -> Option<&'a str> {
    map.get(key).map(|value| value.get())
}

/// Option names are the same in any letter case.
fn find<'a>(options: &'a Options, option: &str) -> Option<(&'a str, &'a RawValue)> {
    options
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(option))
        .map(|(name, value)| (name.as_str(), &**value))
}

/// The text of a string or a number; an empty one is none.
fn plain(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
        Ok(serde_json::Value::Number(_)) => Some(value.get().to_owned()),
        _ => None,
    }
}

fn raw(heading: &str, value: &impl serde::Serialize) -> Result<Box<RawValue>, Unfit> {
    to_raw_value(value).map_err(|_| Unfit(messages::entry_unwritable(heading)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Change;

    fn set(heading: &str, option: &'static str, value: Option<&str>) -> Update {
        let value = value.map(str::to_owned);
        Update {
            heading: heading.to_owned(),
            seen: None,
            changes: vec![Change { option, value }],
        }
    }

    fn parse(text: &str) -> Contents {
        Contents::parse(text).unwrap()
    }

    #[test]
    fn options_of_the_python_tool_are_read() {
        let text = r#"{"a@x": {"token_salt": "c2FsdA==", "token_iterations": "1200000", "access_token": "gAAA",
            "access_token_expiry": "1700000000", "refresh_token": "gBBB", "last_activity": "1699999999"}, "b@x": {}}"#;
        let saved = parse(text).saved("a@x").unwrap();
        assert_eq!(saved.token_salt.as_deref(), Some("c2FsdA=="));
        assert_eq!(saved.token_iterations.as_deref(), Some("1200000"));
        assert_eq!(saved.access_token.as_deref(), Some("gAAA"));
        assert_eq!(saved.access_token_expiry.as_deref(), Some("1700000000"));
        assert_eq!(saved.refresh_token.as_deref(), Some("gBBB"));
        assert_eq!(saved.last_activity.as_deref(), Some("1699999999"));
        assert!(saved.client_secret_encrypted.is_none());
        for heading in ["b@x", "A@x", ""] {
            assert!(parse(text).saved(heading).unwrap() == Saved::default());
        }
    }

    #[test]
    fn numbers_empty_values_and_other_letter_case_are_understood() {
        let contents = parse(
            r#"{"a@x": {"Token_Iterations": 1200000, "access_token": "", "refresh_token": null}}"#,
        );
        let saved = contents.saved("a@x").unwrap();
        assert_eq!(saved.token_iterations.as_deref(), Some("1200000"));
        assert!(saved.access_token.is_none() && saved.refresh_token.is_none());
        let changed = contents.with(&[set("a@x", "token_iterations", Some("2"))]);
        let text = changed.unwrap().unwrap().text();
        assert_eq!(
            text,
            r#"{"a@x": {"access_token":"","refresh_token":null,"token_iterations":"2"}}"#
        );
    }

    #[test]
    fn what_is_not_ours_stays() {
        let contents = parse(
            r#"{"note": 1.50, "big": 123456789012345678901234567890, "other": { "k" : [1,  2] },
                "a@x": {"access_token": "old", "colour": "blue", "f": 1e2}, "b@x": { "access_token" : "b" }}"#,
        );
        let changed = contents.with(&[set("a@x", "access_token", Some("n\"ew\u{e9}"))]);
        assert_eq!(
            changed.unwrap().unwrap().text(),
            concat!(
                r#"{"a@x": {"access_token":"n\"ewé","colour":"blue","f":1e2}, "b@x": { "access_token" : "b" }, "#,
                r#""big": 123456789012345678901234567890, "note": 1.50, "other": { "k" : [1,  2] }}"#
            )
        );
    }

    #[test]
    fn a_removed_option_goes_and_the_last_one_takes_the_account_with_it() {
        let contents = parse(r#"{"a@x": {"access_token": "t", "refresh_token": "r"}}"#);
        let less = contents
            .with(&[set("a@x", "access_token", None)])
            .unwrap()
            .unwrap();
        assert_eq!(less.text(), r#"{"a@x": {"refresh_token":"r"}}"#);
        let none = less
            .with(&[set("a@x", "refresh_token", None)])
            .unwrap()
            .unwrap();
        assert_eq!(none.text(), "{}");
    }

    #[test]
    fn last_activity_and_what_stands_there_already_are_not_worth_a_version() {
        let contents = parse(r#"{"a@x": {"access_token": "t", "last_activity": "1"}}"#);
        for change in [
            set("a@x", "last_activity", Some("2")),
            set("a@x", "access_token", Some("t")),
            set("b@x", "access_token", None),
        ] {
            assert!(contents.with(&[change]).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_no_object_is_refused_and_not_quoted() {
        for text in [
            "hunter2",
            "\"hunter2\"",
            "[\"hunter2\"]",
            "{\"a\": hunter2}",
            "{",
            "7",
        ] {
            let Unfit(why) = Contents::parse(text).err().unwrap();
            assert!(
                why.contains("not a JSON object") && !why.contains("hunter2"),
                "{why}"
            );
        }
        let contents = parse(r#"{"a@x": "hunter2", "b@x": {}}"#);
        let Unfit(why) = contents.saved("a@x").err().unwrap();
        assert!(why.contains("`a@x`") && !why.contains("hunter2"), "{why}");
        assert!(
            contents
                .with(&[set("a@x", "access_token", Some("t"))])
                .is_err()
        );
        assert!(
            contents
                .with(&[set("b@x", "access_token", Some("t"))])
                .is_ok()
        );
        assert!(parse(" \n").saved("a@x").unwrap() == Saved::default());
    }

    #[test]
    fn access_tokens_give_way_in_the_order_of_their_ends() {
        let mut contents = parse(
            r#"{"a@x": {"access_token": "a", "access_token_expiry": "30", "refresh_token": "r"},
                "b@x": {"access_token": "b", "access_token_expiry": 20, "refresh_token": "r", "colour": "blue"},
                "c@x": {"access_token": "c", "access_token_expiry": "10"}, "note": "mine"}"#,
        );
        let mut left = Vec::new();
        while contents.shed().unwrap() {
            let tokens = ["a@x", "b@x", "c@x"].map(|heading| contents.saved(heading).unwrap());
            left.push(tokens.map(|saved| saved.access_token.is_some()));
        }
        assert_eq!(left, [[true, false, true], [false, false, true]]);
        assert_eq!(
            contents.text(),
            r#"{"a@x": {"refresh_token":"r"}, "b@x": {"colour":"blue","refresh_token":"r"}, "#
                .to_owned()
                + r#""c@x": {"access_token": "c", "access_token_expiry": "10"}, "note": "mine"}"#
        );
    }

    #[test]
    fn what_another_has_written_between_is_carried_over() {
        let base = parse(
            r#"{"a@x": {"access_token": "a0"}, "b@x": {"access_token": "b0", "refresh_token": "r0"}, "c@x": {"access_token": "c0"}}"#,
        );
        let theirs = parse(
            r#"{"a@x": {"access_token": "a2"}, "b@x": {"access_token": "b2", "refresh_token": "r2"}, "d@x": {"access_token": "d2"}}"#,
        );
        let ours = base
            .with(&[
                set("a@x", "access_token", Some("a1")),
                set("b@x", "access_token", Some("b1")),
            ])
            .unwrap()
            .unwrap();
        let both = ours.carrying(&base, &theirs).unwrap();
        assert_eq!(
            both.text(),
            r#"{"a@x": {"access_token":"a1"}, "b@x": {"access_token":"b1","refresh_token":"r2"}, "d@x": {"access_token":"d2"}}"#
        );
        assert_eq!(both.carrying(&base, &theirs).unwrap().text(), both.text());
    }
}
