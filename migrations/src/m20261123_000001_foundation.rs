//! Everything the foundation needs: tables, roles, policies.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(include_str!("foundation/roles.up.sql"))
            .await?;
        connection
            .execute_unprepared(include_str!("foundation/schema.up.sql"))
            .await?;
        connection
            .execute_unprepared(include_str!("foundation/policies.up.sql"))
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(include_str!("foundation/schema.down.sql"))
            .await?;
        connection
            .execute_unprepared(include_str!("foundation/roles.down.sql"))
            .await?;
        Ok(())
    }
}
