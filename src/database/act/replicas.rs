//! Read replicas. What Neon refuses of them is remembered and told, and holds nothing else up.

use super::{Context, Pass};
use crate::api::{NeonDatabaseStatus, ReadReplicaStatus};
use crate::database::compute;
use crate::database::refusals::Refused;
use crate::database::replicas::{self, Replica};
use crate::neon::{self, ChangedEndpoint, CreateEndpoint, Endpoint, EndpointId, ErrorKind};
use crate::reconcile::Error;
use crate::world::{at_neon, record_operations};

impl Context<'_> {
    pub(super) async fn create_replica(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let replica = self.replica(name)?;
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let body = CreateEndpoint {
            branch_id: branch,
            replica: Some(replica.endpoint_name()),
            compute: replica.new_endpoint(),
        };
        let created = account.api.create_endpoint(self.project()?, &body).await;
        self.replica_changed(pass, replica, created)
    }

    pub(super) async fn resize_replica(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let replica = self.replica(name)?;
        let _lock = self.lock(self.branch()?.as_str())?;
        let account = self.account().await?;
        let (project, id) = (self.project()?, &self.endpoint_of(replica)?.id);
        let changed = account
            .api
            .update_endpoint(project, id, &replica.update())
            .await;
        self.replica_changed(pass, replica, changed)
    }

    pub(super) async fn delete_replica(
        &self,
        pass: &mut Pass,
        id: &EndpointId,
    ) -> Result<(), Error> {
        let _lock = self.lock(self.branch()?.as_str())?;
        let account = self.account().await?;
        let deleted = account.api.delete_endpoint(self.project()?, id).await;
        let operations = deleted.map_err(at_neon)?;
        let replicas = &mut pass.status.read_replicas;
        replicas.retain(|replica| replica.endpoint.id != id.as_str());
        record_operations(&mut pass.status.operations, &operations, self.now);
        Ok(())
    }

    /// One that is there already, because nobody heard that it was made.
    pub(super) fn record_replica(
        &self,
        status: &mut NeonDatabaseStatus,
        name: &str,
    ) -> Result<(), Error> {
        let replica = self.replica(name)?;
        let endpoint = compute::looked_at(self.endpoint_of(replica)?, None, Some(replica.asked()));
        let name = name.to_owned();
        replicas::record(
            &mut status.read_replicas,
            ReadReplicaStatus { name, endpoint },
        );
        Ok(())
    }

    fn replica(&self, name: &str) -> Result<&Replica, Error> {
        let wanted = self.rest()?.replicas.iter().find(|one| one.name == name);
        wanted.ok_or_else(|| Error::bug("a read replica that nobody asks for"))
    }

    fn endpoint_of(&self, replica: &Replica) -> Result<&Endpoint, Error> {
        let (listed, record) = (&self.observed.replicas, &self.observed.recorded);
        let found = replica.among(listed, &record.read_replicas);
        found.ok_or_else(|| Error::bug("a read replica that is not there"))
    }

    /// What came of asking for a replica.
    fn replica_changed(
        &self,
        pass: &mut Pass,
        replica: &Replica,
        answer: neon::Result<ChangedEndpoint>,
    ) -> Result<(), Error> {
        let changed = match answer {
            Ok(changed) => changed,
            Err(error) if matches!(error.kind, ErrorKind::Rejected | ErrorKind::Limit) => {
                self.refuse_replica(replica, error);
                return Ok(());
            }
            Err(error) => return Err(at_neon(error)),
        };
        record_operations(&mut pass.status.operations, &changed.operations, self.now);
        let (asked, name) = (replica.asked(), replica.name.clone());
        let record = &mut pass.status.read_replicas;
        if let Some(endpoint) = &changed.endpoint {
            let stored = compute::answered(&asked, endpoint);
            let endpoint = compute::status(endpoint, Some(asked), Some(stored));
            replicas::record(record, ReadReplicaStatus { name, endpoint });
        } else if let Some(known) = record.iter_mut().find(|known| known.name == name) {
            (known.endpoint.requested, known.endpoint.stored) = (Some(asked), None);
        }
        Ok(())
    }

    fn refuse_replica(&self, replica: &Replica, error: neon::Error) {
        let with = match compute::in_words(&replica.asked()) {
            asked if asked.is_empty() => String::new(),
            asked => format!(" with {asked}"),
        };
        let (name, words) = (&replica.name, &error.message);
        let message = format!(
            "Neon refuses the read replica {name}{with} (spec.compute.readReplicas): {words}"
        );
        self.refuse(Refused::Replica, message, error);
    }
}
