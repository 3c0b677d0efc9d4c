//! A store in memory.

use super::{Log, lock};
use futures_lite::future::block_on;
use oauth::store::{Saved, Store, StoreError, Update};
use std::{collections::HashMap, sync::Mutex};

/// Sections in memory.
#[derive(Default)]
pub(crate) struct Memory {
    pub(super) log: Log,
    sections: Mutex<HashMap<String, Saved>>,
    broken: Mutex<bool>,
}

impl Memory {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    pub(crate) fn saved(&self, heading: &str) -> Saved {
        lock(&self.sections)
            .get(heading)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn put(&self, heading: &str, saved: Saved) {
        lock(&self.sections).insert(heading.to_owned(), saved);
    }

    pub(crate) fn edit(&self, heading: &str, edit: impl FnOnce(&mut Saved)) {
        edit(lock(&self.sections).entry(heading.to_owned()).or_default());
    }

    /// How many saves there were.
    pub(crate) fn saves(&self) -> usize {
        self.log
            .lines()
            .iter()
            .filter(|line| line.starts_with("save"))
            .count()
    }

    /// Until there have been so many.
    pub(crate) fn wait_for_saves(&self, saves: usize) {
        block_on(async {
            loop {
                let changed = self.log.0.1.listen();
                if self.saves() >= saves {
                    return;
                }
                changed.await;
            }
        });
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        *lock(&self.broken) = broken;
    }
}

impl Store for Memory {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        Ok(self.saved(heading))
    }

    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        if *lock(&self.broken) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        let mut sections = lock(&self.sections);
        let mut made = Vec::new();
        for update in updates {
            let heading = &update.heading;
            let section = sections.entry(heading.clone()).or_default();
            let fits = update.fits(section);
            made.push(fits);
            if !fits {
                continue;
            }
            section.apply(&update.changes);
            let options: Vec<String> = update
                .changes
                .iter()
                .map(|c| format!("{}{}", if c.value.is_some() { "" } else { "-" }, c.option))
                .collect();
            self.log
                .push(format!("save {heading}: {}", options.join(" ")));
        }
        Ok(made)
    }

    fn headings(&self) -> Result<Vec<String>, StoreError> {
        let mut headings: Vec<_> = lock(&self.sections).keys().cloned().collect();
        headings.sort();
        Ok(headings)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
