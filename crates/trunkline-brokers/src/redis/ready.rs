//! Whether a server would take events, found out without adding any.

use redis::{RedisError, cmd};

use super::Structure;
use super::address::Connection;
use super::broker::RedisBroker;

impl RedisBroker {
    /// Says what is in the way. Nothing is created or changed.
    pub(super) async fn check(&self, connection: &mut Connection) -> Result<(), String> {
        let explain = |error: RedisError| self.settings.address.explain(&error);
        self.check_kind_of_server(connection).await?;
        self.script.load(connection).await.map_err(explain)?;
        // Creates nothing, and is refused where a write would be: on a replica, without memory, without permission.
        let probe = match &self.settings.tag {
            Some(tag) => format!("trunkline:cursor:{{{tag}}}:ready"),
            None => "trunkline:cursor:ready".to_owned(),
        };
        let (): () = cmd("SETRANGE").arg(probe).arg(0).arg("").query_async(connection).await.map_err(explain)?;
        for key in self.settings.keys.constants() {
            let found: String = cmd("TYPE").arg(key).query_async(connection).await.map_err(explain)?;
            if found != "none" && found != self.settings.structure.name() {
                return Err(self.wrong_type(key, &found));
            }
            // Takes nothing away.
            let mut trim = match self.settings.structure {
                Structure::Stream => cmd("XTRIM"),
                Structure::List => cmd("LTRIM"),
            };
            match self.settings.structure {
                Structure::Stream => trim.arg(key).arg("MAXLEN").arg(i64::MAX),
                Structure::List => trim.arg(key).arg(0).arg(-1),
            };
            let (): () = trim.query_async(connection).await.map_err(explain)?;
        }
        Ok(())
    }

    /// A node of a cluster answers like any server until a key belongs to another node.
    async fn check_kind_of_server(&self, connection: &mut Connection) -> Result<(), String> {
        if self.settings.address.is_cluster {
            return Ok(());
        }
        // Not every user may ask.
        let answer: Result<String, RedisError> = cmd("INFO").arg("cluster").query_async(connection).await;
        if answer.is_ok_and(|info| info.contains("cluster_enabled:1")) {
            return Err(format!("{} is a node of a cluster; set `cluster: true`", self.settings.address.place));
        }
        Ok(())
    }
}
