//! Enums that Postgres stores as enum types.

/// Defines an enum whose variants have one name everywhere.
///
/// The name is in snake case, in the database type `$type`, in JSON and in the API.
macro_rules! stored_enum {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident as $type:literal {
            $($(#[$variant_attribute:meta])* $variant:ident,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(
            Debug,
            Clone,
            Copy,
            PartialEq,
            Eq,
            Hash,
            serde::Serialize,
            serde::Deserialize,
            utoipa::ToSchema,
            strum::EnumIter,
            strum::IntoStaticStr,
            strum::VariantArray,
            sea_orm::DeriveActiveEnum,
        )]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        #[sea_orm(
            rs_type = "Enum",
            db_type = "Enum",
            enum_name = $type,
            rename_all = "snake_case"
        )]
        pub enum $name {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl std::str::FromStr for $name {
            type Err = sea_orm::DbErr;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::try_from(name)
            }
        }

        // SeaORM's derive has sqlx's other traits.
        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                let name: &'static str = self.into();
                <&str as sqlx::Encode<'_, sqlx::Postgres>>::encode_by_ref(&name, buffer)
            }
        }
    };
}
