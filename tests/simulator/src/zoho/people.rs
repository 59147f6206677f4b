//! People with a Zoho account, and their organizations.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::data_center::DataCenter;

/// A person with a Zoho account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Key of the account in the simulator: data centre and id.
    pub(crate) login: String,
    /// Zoho's id of the account, which is unique in its data centre.
    pub(crate) zuid: u64,
    pub(crate) data_center: DataCenter,
    pub(crate) address: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    /// Id of the organization.
    pub(crate) organization: u64,
    /// Subject of the container in the ledger, per provider the same.
    pub(crate) container: u64,
}

impl Person {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name)
    }
}

/// An organization that is not there yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewOrganization<'a> {
    pub(crate) name: Option<&'a str>,
    /// People, not counting the administrator.
    pub(crate) colleagues: usize,
    /// By default, organizations take turns in all data centres.
    pub(crate) data_center: Option<DataCenter>,
    /// Id of the administrator's account, random by default.
    pub(crate) zuid: Option<u64>,
}

/// An organization, whose members all live in one data centre.
#[derive(Debug)]
struct Organization {
    id: u64,
    data_center: DataCenter,
    /// Logins, the administrator's first.
    members: Vec<String>,
}

/// All people, by their login.
#[derive(Default)]
pub(crate) struct People {
    all: BTreeMap<String, Person>,
    /// In the order of their creation.
    organizations: Vec<Organization>,
}

impl People {
    /// Adds an organization and returns its administrator's login.
    ///
    /// `None` if the data centre has an account with the given id.
    pub(crate) fn add_organization(
        &mut self,
        new: &NewOrganization<'_>,
        rng: &mut StdRng,
    ) -> Option<String> {
        let turn = self.organizations.len();
        let number = turn + 1;
        let name = new
            .name
            .map_or_else(|| format!("team-{number}"), str::to_owned);
        let domain = self.free_domain(&name);
        let default_center = DataCenter::ALL[turn % DataCenter::ALL.len()];
        let data_center = new.data_center.unwrap_or(default_center);
        let login_of = |zuid: u64| format!("{}:{zuid}", data_center.name());
        if new
            .zuid
            .is_some_and(|zuid| self.all.contains_key(&login_of(zuid)))
        {
            return None;
        }
        let id = rng.random_range(60_000_000..90_000_000);
        let mut members = Vec::new();
        for number in 0..=new.colleagues {
            let (account, first_name, last_name) = match number {
                0 => ("admin".to_owned(), name.clone(), "admin".to_owned()),
                _ => (
                    format!("dev-{number}"),
                    name.clone(),
                    format!("dev {number}"),
                ),
            };
            let given = new.zuid.filter(|_| number == 0);
            let zuid = given.unwrap_or_else(|| self.free_zuid(data_center, rng));
            let person = Person {
                login: login_of(zuid),
                zuid,
                data_center,
                address: format!("{account}@{domain}"),
                first_name,
                last_name,
                organization: id,
                container: self.all.len() as u64 + 1,
            };
            members.push(person.login.clone());
            self.all.insert(person.login.clone(), person);
        }
        let admin = members[0].clone();
        self.organizations.push(Organization {
            id,
            data_center,
            members,
        });
        Some(admin)
    }

    /// An id that no account of the data centre has.
    fn free_zuid(&self, data_center: DataCenter, rng: &mut StdRng) -> u64 {
        loop {
            let zuid = rng.random_range(600_000_000..900_000_000);
            let login = format!("{}:{zuid}", data_center.name());
            if !self.all.contains_key(&login) {
                return zuid;
            }
        }
    }

    /// A domain for an organization with this name, which no other organization has.
    fn free_domain(&self, name: &str) -> String {
        let is_free = |domain: &String| {
            let mut people = self.all.values();
            people.all(|person| {
                let own = person.address.split_once('@');
                own.is_none_or(|(_, known)| !known.eq_ignore_ascii_case(domain))
            })
        };
        let numbered = (2_u32..).map(|number| format!("{name}-{number}.example"));
        let mut domains = std::iter::once(format!("{name}.example")).chain(numbered);
        domains.find(is_free).unwrap_or_default()
    }

    pub(crate) fn get(&self, login: &str) -> Option<&Person> {
        self.all.get(login)
    }

    /// The person with this login or address.
    pub(crate) fn find(&self, login: &str) -> Option<&Person> {
        self.all.get(login).or_else(|| {
            let mut people = self.all.values();
            people.find(|person| person.address.eq_ignore_ascii_case(login))
        })
    }

    pub(crate) fn rename(&mut self, login: &str, address: &str) -> bool {
        let person = self.all.get_mut(login);
        person
            .map(|person| address.clone_into(&mut person.address))
            .is_some()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Person> {
        self.all.values()
    }

    /// Administrators of all organizations.
    pub(crate) fn administrators(&self) -> Vec<String> {
        let organizations = self.organizations.iter();
        organizations.map(|one| one.members[0].clone()).collect()
    }

    fn organization_of(&self, login: &str) -> Option<&Organization> {
        let mut organizations = self.organizations.iter();
        organizations.find(|one| one.members.iter().any(|member| member == login))
    }

    /// Members of a person's organization, the administrator first.
    pub(crate) fn colleagues(&self, login: &str) -> Vec<String> {
        let own = self.organization_of(login);
        own.map(|one| one.members.clone()).unwrap_or_default()
    }

    /// An organization as an account of the control API.
    pub(crate) fn account_json(&self, admin: &str) -> Value {
        let Some(organization) = self.organization_of(admin) else {
            return Value::Null;
        };
        let member = |login: &String| {
            let person = self.all.get(login)?;
            Some(json!({
                "login": person.login, "zuid": person.zuid.to_string(),
                "address": person.address, "name": person.name(),
            }))
        };
        let people = self.colleagues(admin);
        let people: Vec<Value> = people.iter().filter_map(member).collect();
        let address = self.get(admin).map(|person| person.address.as_str());
        json!({
            "login": admin, "admin": address, "data_center": organization.data_center,
            "organization_id": organization.id.to_string(), "people": people,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn organizations_take_turns_in_the_data_centers() {
        let (mut people, mut rng) = (People::default(), StdRng::seed_from_u64(1));
        let new = NewOrganization::default();
        for _ in 0..10 {
            people.add_organization(&new, &mut rng).expect("an admin");
        }
        let centers: Vec<&str> = people
            .organizations
            .iter()
            .map(|one| one.data_center.name())
            .collect();
        let all = ["us", "eu", "in", "au", "jp", "ca", "sa", "uk", "cn", "us"];
        assert_eq!(centers, all);
    }

    #[test]
    fn data_centers_share_ids_but_no_address() {
        let (mut people, mut rng) = (People::default(), StdRng::seed_from_u64(1));
        let mut add = |data_center| {
            let new = NewOrganization {
                name: Some("acme"),
                data_center: Some(data_center),
                zuid: Some(7),
                ..NewOrganization::default()
            };
            people.add_organization(&new, &mut rng)
        };
        assert_eq!(add(DataCenter::Us).as_deref(), Some("us:7"));
        assert_eq!(add(DataCenter::Eu).as_deref(), Some("eu:7"));
        assert_eq!(add(DataCenter::Eu), None);
        let addresses: BTreeSet<&str> = people.all().map(|one| one.address.as_str()).collect();
        assert_eq!(addresses.len(), 2, "{addresses:?}");
    }
}
