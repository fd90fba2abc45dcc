//! Room for scrapes: how many may wait or be written at once. People and Prometheus have a room of their own each: in
//! an incident a team reloads `/stalls`, and the alert rules must be evaluated all the same.

use std::rc::Rc;

use super::routes::Wanted;

/// A place in a room; given back when dropped, on whatever way the connection ends.
#[derive(Debug)]
pub struct Permit {
    token: Rc<()>,
    max: usize,
}

impl Permit {
    /// The same room for the next stage, which replaces this one.
    pub fn pass_on(&self) -> Self {
        Self { token: Rc::clone(&self.token), max: self.max }
    }

    /// Whether others want in: its room is full.
    pub fn is_wanted(&self) -> bool {
        is_full(&self.token, self.max)
    }
}

/// All the room there is.
#[derive(Debug)]
pub struct Permits {
    token: Rc<()>,
    max: usize,
}

impl Permits {
    /// Room for `max` scrapes.
    pub fn new(max: usize) -> Self {
        Self { token: Rc::new(()), max }
    }

    /// How many there is room for.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Whether there is room.
    pub fn any_left(&self) -> bool {
        !is_full(&self.token, self.max)
    }

    /// Room for one more; `None` when all is taken.
    pub fn take(&self) -> Option<Permit> {
        self.any_left().then(|| Permit { token: Rc::clone(&self.token), max: self.max })
    }
}

fn is_full(token: &Rc<()>, max: usize) -> bool {
    // One count is the room's own.
    Rc::strong_count(token) > max
}

/// The rooms.
#[derive(Debug)]
pub struct Rooms {
    scrapes: Permits,
    people: Permits,
}

impl Rooms {
    /// Room for `max` scrapes and as many people, who take a quarter of all `connections` at most.
    pub fn new(max: usize, connections: usize) -> Self {
        let people = max.min((connections / 4).max(1));
        Self { scrapes: Permits::new(max), people: Permits::new(people) }
    }

    /// The room for what is wanted.
    pub const fn of(&self, wanted: Wanted) -> &Permits {
        match wanted {
            Wanted::Metrics => &self.scrapes,
            Wanted::Stalls(..) => &self.people,
        }
    }

    /// Whether one of them is full.
    pub fn any_full(&self) -> bool {
        !self.scrapes.any_left() || !self.people.any_left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::told::Face;

    #[test]
    fn room_comes_back_when_the_last_holder_goes() {
        let permits = Permits::new(1);
        let first = permits.take().unwrap();
        let same = first.pass_on();
        drop(first);
        assert!(permits.take().is_none());
        drop(same);
        assert!(permits.take().is_some());
        assert!(Permits::new(0).take().is_none());
    }

    #[test]
    fn a_full_room_wants_its_places_back_and_readers_leave_connections_to_others() {
        let rooms = Rooms::new(2, 4);
        let people = rooms.of(Wanted::Stalls(Face::Json, None));
        assert_eq!((rooms.of(Wanted::Metrics).max(), people.max()), (2, 1));
        let scrape = rooms.of(Wanted::Metrics).take().unwrap();
        let reader = people.take().unwrap();
        assert!(rooms.any_full() && reader.is_wanted() && !scrape.is_wanted());
        assert_eq!(Rooms::new(40, 256).people.max(), 40);
        assert_eq!(Rooms::new(1, 1).people.max(), 1, "somebody can always read");
    }
}
