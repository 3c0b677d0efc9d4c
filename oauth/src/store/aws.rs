//! Tokens in AWS Secrets Manager.

use super::{Change, Saved, Store, StoreError};
use crate::crypt;
use contents::{Contents, Unfit};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

mod contents;
mod http;
mod secret;

/// One secret in AWS Secrets Manager that holds a JSON object of accounts, each an object of options: what the Python tool keeps there.
///
/// Credentials, region and endpoint come from the SDK's standard chain (`AWS_…` variables, profiles, SSO, web identity, external
/// programs, containers, instances; `AWS_ENDPOINT_URL`). The secret is created when it is missing.
///
/// # Several proxies on one secret
///
/// A save reads the secret, changes the options concerned, and makes the result current **only if what it has read is still
/// current**; else it begins again. Nothing that another replica has saved is lost, whatever the order. That takes
/// `secretsmanager:UpdateSecretVersionStage` beside `GetSecretValue`, `PutSecretValue` and `CreateSecret`.
///
/// Where that permission is missing, a save puts its version, and looks whether it has overwritten another one: that one's changes
/// are then put back. This misses a change when three replicas write within the same moment. A program that writes the secret
/// without reading it first (the Python tool does) overwrites what others saved, and no permission helps.
///
/// # Limits
///
/// A secret holds 64 KiB: some 10 to 20 accounts where access tokens are 2 KB long. AWS keeps all of a secret's versions of the
/// last 24 hours and about a hundred in all, and each save is a version: beyond one save every ten minutes saving is refused
/// at some time, and [`Saver`](super::Saver) keeps the tokens in memory meanwhile.
pub struct AwsStore {
    versions: Box<dyn Versions>,
    /// What was read or written last, and when. Held during a read, so that logins that come together share it.
    read: Mutex<Option<Read>>,
    /// Held during a save: one at a time from this process.
    writing: Mutex<()>,
    /// Making a version current under a condition is not allowed.
    unconditional: AtomicBool,
}

struct Read {
    at: Instant,
    result: Result<Arc<Contents>, StoreError>,
}

/// How long what was read serves: a login reads its account and its catch-alls.
const FRESH: Duration = Duration::from_secs(5);
/// The same for a failure: those who waited for it do not each wait for their own.
const FRESH_FAILURE: Duration = Duration::from_secs(1);

/// What Secrets Manager takes as the text of a secret, in octets.
const MAX_TEXT: usize = 65_536;

/// How often a save begins again because others have saved meanwhile.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl AwsStore {
    /// The secret `NAME-or-ARN`, or `PROFILE||NAME-or-ARN` to take credentials and region from a profile of the AWS configuration
    /// files. Does not reach for the secret yet, but may ask this machine's metadata service for the region: it blocks.
    ///
    /// # Errors
    /// The name cannot be one of a secret, or no region is known.
    pub fn open(id: &str) -> Result<AwsStore, StoreError> {
        Ok(AwsStore::over(Box::new(secret::Secret::open(id)?)))
    }

    fn over(versions: Box<dyn Versions>) -> AwsStore {
        AwsStore {
            versions,
            read: Mutex::default(),
            writing: Mutex::default(),
            unconditional: AtomicBool::new(false),
        }
    }

    /// What the secret holds, as of a few seconds ago at most.
    fn contents(&self) -> Result<Arc<Contents>, StoreError> {
        let mut read = locked(&self.read);
        if let Some(read) = &*read {
            let fresh = if read.result.is_ok() {
                FRESH
            } else {
                FRESH_FAILURE
            };
            if read.at.elapsed() < fresh {
                return read.result.clone();
            }
        }
        let result = match self.versions.current() {
            Ok(Some(version)) => self.parse(&version.text).map(Arc::new),
            Ok(None) => Ok(Arc::default()),
            Err(fault) => Err(self.failed(fault)),
        };
        *read = Some(Read {
            at: Instant::now(),
            result: result.clone(),
        });
        result
    }

    fn remember(&self, result: Result<Contents, StoreError>) {
        *locked(&self.read) = Some(Read {
            at: Instant::now(),
            result: result.map(Arc::new),
        });
    }

    /// Reads, changes and writes until nobody has come in between; stops where what it reads is not `as_expected`, and says whether
    /// it was.
    fn write(
        &self,
        sections: &[(String, Vec<Change>)],
        as_expected: impl Fn(&Contents) -> Result<bool, Unfit>,
    ) -> Result<bool, StoreError> {
        let _writing = locked(&self.writing);
        let mut expected = true;
        let contents = self.written(sections, |contents| {
            expected = as_expected(contents)?;
            Ok(expected)
        })?;
        self.remember(Ok(contents));
        Ok(expected)
    }

    /// What the secret holds in the end.
    fn written(
        &self,
        sections: &[(String, Vec<Change>)],
        mut go_on: impl FnMut(&Contents) -> Result<bool, Unfit>,
    ) -> Result<Contents, StoreError> {
        let mut changed = |contents: &Contents| {
            if !go_on(contents)? {
                return Ok(None);
            }
            contents.with(sections)
        };
        let mut changed =
            |contents: &Contents| changed(contents).map_err(|unfit| self.unfit(&unfit));
        let mut exists = self.versions.by_arn();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(pause(attempt));
            }
            let Some(base) = self
                .versions
                .current()
                .map_err(|fault| self.failed(fault))?
            else {
                let Some(first) = changed(&Contents::default())? else {
                    return Ok(Contents::default());
                };
                let text = self.fitting(&first)?;
                let made = if exists {
                    self.versions.put(&text).map(drop)
                } else {
                    self.versions.create(&text)
                };
                match made {
                    Ok(()) => return Ok(first),
                    // Another replica was faster, or the secret has no value yet; the next look shows which.
                    Err(Fault::Exists) => exists = true,
                    Err(fault) => return Err(self.failed(fault)),
                }
                continue;
            };
            let old = self.parse(&base.text)?;
            let Some(new) = changed(&old)? else {
                return Ok(old);
            };
            let text = self.fitting(&new)?;
            let written = if self.unconditional.load(Ordering::Relaxed) {
                self.put(base, old, new)?
            } else {
                match self.replace(&base, &text) {
                    Ok(()) => Some(new),
                    Err(Fault::Conflict) => None,
                    Err(Fault::NotAllowed) => {
                        self.unconditional.store(true, Ordering::Relaxed);
                        tracing::info!(
                            "{}: where several proxies share it, allow `secretsmanager:UpdateSecretVersionStage` as well, so that \
                             none can overwrite what another one saves at the same moment",
                            self.describe()
                        );
                        self.put(base, old, new)?
                    }
                    Err(fault) => return Err(self.failed(fault)),
                }
            };
            if let Some(contents) = written {
                return Ok(contents);
            }
        }
        Err(StoreError(format!(
            "{}: others have changed it each time, {ATTEMPTS} times in a row",
            self.describe()
        )))
    }

    /// Makes the text current where `base` still is.
    fn replace(&self, base: &Version, text: &str) -> Result<(), Fault> {
        let staged = self.versions.stage(text)?;
        let result = self.versions.promote(&base.id, &staged);
        if matches!(result, Err(Fault::Conflict)) {
            // Where the answer to a first attempt was lost, the SDK's second one finds it done.
            let current = self.versions.current()?;
            if current.is_some_and(|current| current.id == staged) {
                return Ok(());
            }
        }
        result
    }

    /// Makes `new` current whatever is, and then puts back what was written since `base` was read. None: another one has come after,
    /// so look again whether the changes are still there.
    fn put(
        &self,
        base: Version,
        old: Contents,
        new: Contents,
    ) -> Result<Option<Contents>, StoreError> {
        let failed = |fault| self.failed(fault);
        let (mut base, mut old, mut new) = (base, old, new);
        for _ in 0..ATTEMPTS {
            let id = self.versions.put(&self.fitting(&new)?).map_err(failed)?;
            let now = self.versions.current().map_err(failed)?;
            let Some(now) = now.filter(|now| now.id == id) else {
                return Ok(None);
            };
            let between = self.versions.previous().map_err(failed)?;
            // An older one can only be an answer that is behind the times.
            let between = between.filter(|one| one.id != base.id && one.created >= base.created);
            let Some(between) = between else {
                return Ok(Some(new));
            };
            let theirs = self.parse(&between.text)?;
            let both = new
                .carrying(&old, &theirs)
                .map_err(|unfit| self.unfit(&unfit))?;
            if both.text() == new.text() {
                return Ok(Some(new));
            }
            (base, old, new) = (now, new, both);
        }
        Ok(None)
    }

    fn parse(&self, text: &str) -> Result<Contents, StoreError> {
        Contents::parse(text).map_err(|unfit| self.unfit(&unfit))
    }

    fn fitting(&self, contents: &Contents) -> Result<String, StoreError> {
        let text = contents.text();
        if text.len() <= MAX_TEXT {
            return Ok(text);
        }
        Err(StoreError(format!(
            "{} would need {} bytes and can hold {MAX_TEXT}: remove accounts that are not used any more from it, or spread the \
             accounts over several proxies with a secret each",
            self.describe(),
            text.len()
        )))
    }

    fn unfit(&self, Unfit(why): &Unfit) -> StoreError {
        StoreError(format!(
            "{}: {why}; correct it, or name another secret",
            self.describe()
        ))
    }

    fn missing(&self) -> StoreError {
        StoreError(format!(
            "{}: there is no such secret, and none can be created by ARN; create it in AWS, or give a name instead",
            self.describe()
        ))
    }

    fn failed(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Other(error) => error,
            Fault::Missing => self.missing(),
            Fault::Exists | Fault::Conflict | Fault::NotAllowed => {
                StoreError(format!("{}: others are changing it", self.describe()))
            }
        }
    }
}

impl Store for AwsStore {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        let contents = self.contents()?;
        contents.saved(heading).map_err(|unfit| self.unfit(&unfit))
    }

    fn save(&self, heading: &str, changes: &[Change]) -> Result<(), StoreError> {
        self.save_all(&[(heading.to_owned(), changes.to_vec())])
    }

    /// All or none, as one version. Where nothing but `last_activity` would change, nothing is written.
    fn save_all(&self, sections: &[(String, Vec<Change>)]) -> Result<(), StoreError> {
        self.write(sections, |_| Ok(true)).map(drop)
    }

    fn save_unless_changed(
        &self,
        heading: &str,
        seen: &Saved,
        changes: &[Change],
    ) -> Result<bool, StoreError> {
        self.write(&[(heading.to_owned(), changes.to_vec())], |contents| {
            Ok(contents.saved(heading)? == *seen)
        })
    }

    /// Reads the secret, and creates it (empty) when it is missing, so that a missing permission is known before the first login.
    fn prepare(&self) -> Result<(), StoreError> {
        let _writing = locked(&self.writing);
        match self.versions.current() {
            Ok(Some(version)) => {
                let contents = self.parse(&version.text)?;
                self.remember(Ok(contents));
            }
            Ok(None) if self.versions.by_arn() => return Err(self.missing()),
            Ok(None) => {
                match self.versions.create("{}") {
                    // It was created this moment, or it has no value yet: the first save sees to that.
                    Ok(()) | Err(Fault::Exists) => {}
                    Err(fault) => return Err(self.failed(fault)),
                }
                tracing::info!("{} has been created", self.describe());
            }
            Err(fault) => return Err(self.failed(fault)),
        }
        Ok(())
    }

    fn describe(&self) -> String {
        self.versions.describe()
    }
}

/// A secret, as its versions.
trait Versions: Send + Sync {
    /// None: there is no such secret, or it has no value.
    fn current(&self) -> Result<Option<Version>, Fault>;
    /// The one that was current before.
    fn previous(&self) -> Result<Option<Version>, Fault>;
    /// [`Fault::Exists`] where the secret does.
    fn create(&self, text: &str) -> Result<(), Fault>;
    /// A new current version; gives its id.
    fn put(&self, text: &str) -> Result<String, Fault>;
    /// A new version that is not current; gives its id.
    fn stage(&self, text: &str) -> Result<String, Fault>;
    /// Makes `to` current where `from` is, else [`Fault::Conflict`].
    fn promote(&self, from: &str, to: &str) -> Result<(), Fault>;
    /// It is named by an ARN, and so cannot be created.
    fn by_arn(&self) -> bool;
    /// For logs.
    fn describe(&self) -> String;
}

struct Version {
    id: String,
    text: String,
    /// Unix time in milliseconds.
    created: i64,
}

enum Fault {
    Missing,
    Exists,
    /// Another version is current.
    Conflict,
    /// [`Versions::promote`] may not be used.
    NotAllowed,
    Other(StoreError),
}

/// Doubles with each attempt, and is spread between half of that and all, so that replicas get out of step.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << attempt.min(16))
        .min(LONGEST_PAUSE);
    let [spread] = crypt::random::<1>().unwrap_or([128]);
    longest / 2 + longest.mul_f64(f64::from(spread) / 512.0)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
