//! People with a Google account, and their organizations.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// A person with a Google account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Stable id of the account, 21 digits.
    pub(crate) sub: String,
    pub(crate) address: String,
    /// Id of the person in Drive, 20 digits.
    pub(crate) permission_id: String,
    pub(crate) name: String,
    /// Domain of the organization.
    pub(crate) domain: String,
    /// Subject of the container in the ledger, per provider the same.
    pub(crate) container: u64,
}

impl Person {
    /// The person as a user in responses of Drive.
    pub(crate) fn drive_user(&self, viewer: &str) -> Value {
        json!({
            "kind": "drive#user", "displayName": self.name, "me": self.sub == viewer,
            "permissionId": self.permission_id, "emailAddress": self.address,
        })
    }
}

/// All people, by the id of their account.
#[derive(Default)]
pub(crate) struct People {
    all: BTreeMap<String, Person>,
    /// Organizations in the order of their creation, each with its administrator first.
    organizations: Vec<Vec<String>>,
    /// People outside of all organizations, who only share files with members, by their ids.
    outsiders: BTreeMap<String, Person>,
}

impl People {
    /// Adds an organization with an administrator and colleagues; returns the administrator.
    pub(crate) fn add_organization(
        &mut self,
        name: Option<&str>,
        colleagues: usize,
        rng: &mut StdRng,
    ) -> String {
        let number = self.organizations.len() + 1;
        let name = name.map_or_else(|| format!("team-{number}"), str::to_owned);
        let domain = self.free_domain(&name);
        let mut members = Vec::new();
        for number in 0..=colleagues {
            let (login, title) = match number {
                0 => ("admin".to_owned(), format!("{name} admin")),
                _ => (format!("dev-{number}"), format!("{name} dev {number}")),
            };
            let person = Person {
                sub: format!("1{}", digits(rng, 20)),
                permission_id: format!("0{}", digits(rng, 19)),
                address: format!("{login}@{domain}"),
                name: title,
                domain: domain.clone(),
                container: self.all.len() as u64 + 1,
            };
            members.push(person.sub.clone());
            self.all.insert(person.sub.clone(), person);
        }
        let admin = members[0].clone();
        self.organizations.push(members);
        admin
    }

    /// Returns the id of the person outside of all organizations with this address.
    pub(crate) fn outsider(&mut self, address: &str, rng: &mut StdRng) -> String {
        let mut known = self.outsiders.values();
        if let Some(person) = known.find(|one| one.address.eq_ignore_ascii_case(address)) {
            return person.sub.clone();
        }
        let (name, domain) = address.split_once('@').unwrap_or((address, ""));
        let person = Person {
            sub: format!("1{}", digits(rng, 20)),
            permission_id: format!("0{}", digits(rng, 19)),
            address: address.to_owned(),
            name: name.to_owned(),
            domain: domain.to_owned(),
            container: 0,
        };
        let sub = person.sub.clone();
        self.outsiders.insert(sub.clone(), person);
        sub
    }

    /// A domain for an organization with this name, which no other organization has.
    fn free_domain(&self, name: &str) -> String {
        let is_free = |domain: &String| {
            let mut people = self.all.values();
            people.all(|person| !person.domain.eq_ignore_ascii_case(domain))
        };
        let numbered = (2_u32..).map(|number| format!("{name}-{number}.example"));
        let mut domains = std::iter::once(format!("{name}.example")).chain(numbered);
        domains.find(is_free).unwrap_or_default()
    }

    /// A member of an organization.
    pub(crate) fn get(&self, sub: &str) -> Option<&Person> {
        self.all.get(sub)
    }

    /// A member of an organization, or a person outside.
    pub(crate) fn get_any(&self, sub: &str) -> Option<&Person> {
        self.get(sub).or_else(|| self.outsiders.get(sub))
    }

    /// The person with this id or address.
    pub(crate) fn find(&self, login: &str) -> Option<&Person> {
        self.all.get(login).or_else(|| {
            let mut people = self.all.values();
            people.find(|person| person.address.eq_ignore_ascii_case(login))
        })
    }

    pub(crate) fn rename(&mut self, sub: &str, address: &str) -> bool {
        let person = self.all.get_mut(sub);
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
        organizations.map(|members| members[0].clone()).collect()
    }

    /// Members of a person's organization, the administrator first.
    pub(crate) fn colleagues(&self, sub: &str) -> Vec<String> {
        let mut organizations = self.organizations.iter();
        let own = organizations.find(|members| members.iter().any(|member| member == sub));
        own.cloned().unwrap_or_default()
    }

    /// An organization as an account of the control API.
    pub(crate) fn account_json(&self, admin: &str) -> Value {
        let member = |sub: &String| {
            let person = self.all.get(sub)?;
            Some(json!({
                "login": person.sub, "address": person.address,
                "permission_id": person.permission_id, "name": person.name,
            }))
        };
        let people = self.colleagues(admin);
        let people: Vec<Value> = people.iter().filter_map(member).collect();
        let address = self.get(admin).map(|person| person.address.as_str());
        json!({ "login": admin, "admin": address, "people": people })
    }
}

/// Random decimal digits.
pub(crate) fn digits(rng: &mut StdRng, count: usize) -> String {
    let digit = |_| char::from(b'0' + rng.random_range(0..10_u8));
    (0..count).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn organizations_of_one_name_share_no_address() {
        let (mut people, mut rng) = (People::default(), StdRng::seed_from_u64(1));
        for name in ["acme", "Acme", "acme", "acme-2"] {
            people.add_organization(Some(name), 1, &mut rng);
        }
        let all = people.all().map(|person| person.address.to_lowercase());
        let addresses: BTreeSet<String> = all.collect();
        assert_eq!(addresses.len(), 8, "{addresses:?}");
    }
}
