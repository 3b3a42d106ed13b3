//! The operator's ports onto the databases in memory: contents and migrations.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::ExposeSecret;
use sepulki::engine::run::{Inspection, Progress, RunError, RunReport, RunRequest, Verification};
use sepulki::engine::{Code, Diagnostic, LedgerState, Verdict, Verified, plan};
use sepulki::postgres::extensions::Installed;
use sepulki::postgres::retire::{from_earlier, leftovers};
use sepulki::postgres::roles::{following_login, login_to_use};
use sepulki::postgres::{Class, Error, Target, extensions, managers};
use sepulki::world::{
    Contents, DatabaseReport, LoginsLeft, Migrations, NewLogin, PrepareDatabase, PrepareRoles,
};
use tokio::sync::mpsc::UnboundedSender;

use super::Sim;
use super::neon::UNKNOWN_SETTING;
use super::postgres::{PgRole, Server, available, open};
use super::trouble::no_such_setting as words;

/// A file that holds this fails.
pub const FAILS: &str = "does_not_exist";

/// Contents of branches.
pub struct ContentsPort(pub Arc<Sim>);

impl ContentsPort {
    /// One session that changes something, all or nothing.
    async fn session<T>(
        &self,
        what: String,
        at: &Target,
        work: impl FnOnce(&mut Server) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let call = || {
            self.0.lock().touch(&at.host, &what);
            self.read(at, work)
        };
        self.0
            .faults
            .effect(format!("{what} at {}", at.host), call)
            .await
    }

    fn read<T>(
        &self,
        at: &Target,
        work: impl FnOnce(&mut Server) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let now = self.0.now();
        let mut state = self.0.lock();
        state.sessions += 1;
        work(open(&mut state.neon, at, now)?)
    }
}

#[async_trait]
impl Contents for ContentsPort {
    async fn manager(&self, at: &Target, groups: &[String], mark: &str) -> Result<String, Error> {
        let read = || {
            self.read(at, |server| {
                let all = server.administrations();
                Ok(managers::manager(&all, groups, mark, &at.user))
            })
        };
        self.0.faults.look(read).await
    }

    async fn retire_logins(&self, at: &Target, mark: &str) -> Result<LoginsLeft, Error> {
        self.session("retire logins".to_owned(), at, |server| {
            let foreign = |(_, role): &(&String, &mut PgRole)| {
                role.login && !role.api && role.mark.as_deref() != Some(mark)
            };
            let mut left = LoginsLeft::default();
            for (name, role) in server.roles.iter_mut().filter(foreign) {
                if role.obeys(&at.user) {
                    role.login = false;
                    role.password = None;
                } else {
                    left.names.push(name.clone());
                }
            }
            left.administrators = managers::administrators(&server.administrations(), &left.names);
            Ok(left)
        })
        .await
    }

    async fn prepare_roles(&self, at: &Target, wanted: &PrepareRoles) -> Result<(), Error> {
        self.session("prepare roles".to_owned(), at, |server| {
            for login in from_earlier(&server.facts(), &wanted.mark, &wanted.kept()) {
                server.roles.get_mut(&login).unwrap().mark = Some(wanted.mark.clone());
            }
            for role in &wanted.roles {
                server.role(&role.group, &at.user);
                let ours = |(name, login): &(&String, &mut PgRole)| {
                    login.mark.as_ref() == Some(&wanted.mark)
                        && name.starts_with(&format!("{}_g", role.group))
                };
                for (_, login) in server.roles.iter_mut().filter(ours) {
                    login.altered_by(&at.user)?.shape = role.shape.clone();
                }
            }
            close_leftovers(server, at, wanted)
        })
        .await
    }

    async fn close_leftovers(&self, at: &Target, wanted: &PrepareRoles) -> Result<(), Error> {
        self.session("close leftovers".to_owned(), at, |server| {
            close_leftovers(server, at, wanted)
        })
        .await
    }

    async fn prepare_database(
        &self,
        at: &Target,
        wanted: &PrepareDatabase,
    ) -> Result<DatabaseReport, Error> {
        let what = format!("prepare database {}", at.database);
        self.session(what, at, |server| {
            let groups = wanted.grants.iter().map(|rights| &rights.group);
            for group in groups.chain(&wanted.refused) {
                if !server.roles.contains_key(group) {
                    let message = format!("role \"{group}\" does not exist");
                    return Err(Error::new(Class::Invalid, message));
                }
            }
            let database = server.databases.get_mut(&at.database).unwrap();
            if database.owner != at.user {
                return Err(Error::new(Class::Denied, "must be owner of the database"));
            }
            if database.locked {
                return Err(Error::new(
                    Class::Conflict,
                    "a migration holds this database",
                ));
            }
            let installed = database.installed();
            for step in extensions::steps(&wanted.extensions, &available(), &installed)? {
                database.install(step);
            }
            database.public &= !wanted.close_to_public;
            let schemas = database.schemas.clone();
            for rights in &wanted.grants {
                let present = rights.schemas.iter().filter(|s| schemas.contains(*s));
                let granted = (rights.access, present.cloned().collect());
                database.grants.insert(rights.group.clone(), granted);
            }
            let missing = wanted.grants.iter().flat_map(|rights| {
                let missing = rights.schemas.iter().filter(|s| !schemas.contains(*s));
                missing.map(|schema| (rights.group.clone(), schema.clone()))
            });
            database
                .grants
                .retain(|group, _| !wanted.refused.contains(group));
            let is_asked_for =
                |one: &Installed| wanted.extensions.iter().any(|asked| asked.name == one.name);
            let installed = database.installed();
            Ok(DatabaseReport {
                extensions: installed.into_iter().filter(is_asked_for).collect(),
                not_granted: Vec::new(),
                missing_schemas: missing.collect(),
            })
        })
        .await
    }

    async fn choose_login(
        &self,
        at: &Target,
        group: &str,
        mark: &str,
        recorded: Option<&str>,
    ) -> Result<String, Error> {
        let read = || {
            self.read(at, |server| {
                Ok(login_to_use(&server.facts(), group, mark, recorded))
            })
        };
        self.0.faults.look(read).await
    }

    async fn next_login(&self, at: &Target, group: &str) -> Result<String, Error> {
        let read = || self.read(at, |server| Ok(following_login(&server.facts(), group)));
        self.0.faults.look(read).await
    }

    async fn drop_login(&self, at: &Target, _: &str, login: &str, mark: &str) -> Result<(), Error> {
        self.session(format!("drop login {login}"), at, |server| {
            let ours = |role: &&mut PgRole| role.mark.as_deref() == Some(mark);
            if let Some(role) = server.roles.get_mut(login).filter(ours) {
                role.altered_by(&at.user)?;
                server.roles.remove(login);
            }
            Ok(())
        })
        .await
    }

    async fn set_login(&self, at: &Target, login: &NewLogin) -> Result<(), Error> {
        let password = login.password.expose_secret().to_owned();
        self.0.lock().passwords.push(password.clone());
        self.session(format!("set login {}", login.login), at, |server| {
            server.role(&login.group, &at.user);
            let is_new = !server.roles.contains_key(&login.login);
            let role = server.role(&login.login, &at.user);
            if is_new {
                role.mark = Some(login.mark.clone());
            }
            if role.mark.as_ref() != Some(&login.mark) {
                return Err(Error::new(
                    Class::Conflict,
                    "the role exists and is not ours",
                ));
            }
            let role = role.altered_by(&at.user)?;
            role.login = true;
            role.password = Some(password);
            role.member_of.insert(login.group.clone());
            role.shape = login.shape.clone();
            Ok(())
        })
        .await
    }

    async fn refused_settings(
        &self,
        at: &Target,
        settings: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let is_unknown = |(name, _): &(&String, &String)| name.as_str() == UNKNOWN_SETTING;
        let read = || {
            self.read(at, |_| {
                let unknown = settings.iter().filter(is_unknown);
                Ok(unknown.map(|(name, _)| (name.clone(), words())).collect())
            })
        };
        self.0.faults.look(read).await
    }

    async fn accepts(&self, at: &Target) -> Result<bool, Error> {
        let read = || match self.read(at, |_| Ok(())) {
            Ok(()) => Ok(true),
            Err(error) if error.to_string().starts_with("password authentication") => Ok(false),
            Err(error) => Err(error),
        };
        self.0.faults.look(read).await
    }
}

fn close_leftovers(server: &mut Server, at: &Target, wanted: &PrepareRoles) -> Result<(), Error> {
    for login in leftovers(&server.facts(), &wanted.mark, &wanted.kept()) {
        let role = server.roles.get_mut(&login).unwrap();
        let role = role.altered_by(&at.user)?;
        role.login = false;
        role.password = None;
    }
    Ok(())
}

/// The migration engine: its own plans against the ledgers in memory.
pub struct MigrationsPort(pub Arc<Sim>);

/// Gives a database free again, however the run ends.
struct Held<'a>(&'a Sim, Target);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let branch = state.neon.at_host(&self.1.host);
        if let Some(database) = branch.and_then(|b| b.server.databases.get_mut(&self.1.database)) {
            database.locked = false;
        }
    }
}

fn refused(error: Error) -> RunError {
    RunError::from(error)
}

impl MigrationsPort {
    fn ledger(&self, at: &Target) -> Result<LedgerState, RunError> {
        let now = self.0.now();
        let mut state = self.0.lock();
        state.sessions += 1;
        let server = open(&mut state.neon, at, now).map_err(refused)?;
        Ok(server.databases[&at.database].state())
    }

    fn hold(&self, at: &Target) -> Result<Held<'_>, RunError> {
        let now = self.0.now();
        let mut state = self.0.lock();
        state.sessions += 1;
        let server = open(&mut state.neon, at, now).map_err(refused)?;
        let database = server.databases.get_mut(&at.database).unwrap();
        if std::mem::replace(&mut database.locked, true) {
            return Err(RunError::Busy("another run".to_owned()));
        }
        Ok(Held(&self.0, at.clone()))
    }

    /// What migrations did there, in order.
    fn ran(&self, at: &Target) -> Result<Vec<String>, RunError> {
        let now = self.0.now();
        let mut state = self.0.lock();
        state.sessions += 1;
        let server = open(&mut state.neon, at, now).map_err(refused)?;
        Ok(server.databases[&at.database].ran.clone())
    }

    /// Compares what the ledger claims with what ran.
    fn compare(&self, run: &RunRequest, scratch: &Target) -> Result<Verification, RunError> {
        assert_ne!(
            run.target.host, scratch.host,
            "tried on the database itself"
        );
        let (ledger, ran) = (self.ledger(&run.target)?, self.ran(scratch)?);
        if ran != self.ran(&run.target)? {
            return Err(RunError::NotACopy("drops something".to_owned()));
        }
        let files = run.bundle.files().iter().map(|file| {
            let version = file.version().to_owned();
            Verified {
                recorded: ledger.rows.iter().any(|row| row.version == version),
                in_part: false,
                verdict: if ran.contains(&version) {
                    Verdict::Consistent
                } else {
                    Verdict::Missing(vec!["makes something".to_owned()])
                },
                version,
            }
        });
        let versions = files.collect();
        Ok(Verification { ledger, versions })
    }

    /// Runs one file and writes its row in one transaction.
    async fn file(&self, run: &RunRequest, version: &str) -> Result<(), RunError> {
        let file = run.bundle.file(version).unwrap();
        let call = || {
            if self.0.lock().fails(file.sha256()) {
                return Err(RunError::Failed(Box::new(failure(version))));
            }
            let now = self.0.now();
            let mut state = self.0.lock();
            let made = schema_of(&state.text_of(file.sha256()));
            let server = open(&mut state.neon, &run.target, now).map_err(refused)?;
            let database = server.databases.get_mut(&run.target.database).unwrap();
            database.commit(version, file.sha256(), now);
            database.schemas.extend(made);
            Ok(())
        };
        let what = format!("migrate {version} at {}", run.target.host);
        self.0.faults.effect(what, call).await
    }
}

/// The schema that a file makes, where it makes one.
fn schema_of(sql: &str) -> Option<String> {
    let (_, rest) = sql.split_once("CREATE SCHEMA ")?;
    Some(rest.trim_end_matches(';').to_owned())
}

fn failure(version: &str) -> Diagnostic {
    Diagnostic {
        file: version.to_owned(),
        code: Code::Refused,
        position: None,
        sqlstate: Some("42P01".to_owned()),
        message: "relation \"does_not_exist\" does not exist".to_owned(),
        detail: None,
        hint: None,
        snippet: None,
        outcome: None,
    }
}

#[async_trait]
impl Migrations for MigrationsPort {
    async fn inspect(&self, of: Inspection<'_>) -> Result<LedgerState, RunError> {
        self.0.faults.look(|| self.ledger(of.target)).await
    }

    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError> {
        let _held = self.hold(&run.target)?;
        let until = run.until.as_deref();
        let todo = plan(&run.bundle, &self.ledger(&run.target)?, until);
        if !todo.is_runnable() {
            return Err(RunError::Blocked(Box::new(todo)));
        }
        let mut applied = Vec::new();
        for (index, pending) in todo.pending.iter().enumerate() {
            let version = pending.version.clone();
            drop(progress.send(Progress::Started {
                version: version.clone(),
                number: index + 1,
                total: todo.pending.len(),
                attempt: 1,
            }));
            self.file(&run, &version).await?;
            drop(progress.send(Progress::Applied {
                version: version.clone(),
            }));
            applied.push(version);
        }
        let ledger = self.ledger(&run.target)?;
        let plan = plan(&run.bundle, &ledger, until);
        Ok(RunReport {
            applied,
            ledger,
            plan,
        })
    }

    async fn verify(&self, run: &RunRequest, scratch: &Target) -> Result<Verification, RunError> {
        let what = format!("try the files at {}", scratch.host);
        let compare = || self.compare(run, scratch);
        tokio::select! {
            biased;
            () = run.cancel.cancelled() => Err(RunError::Cancelled),
            found = self.0.faults.effect(what, compare) => found,
        }
    }
}
