use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tintype_store::{Access, ChangeKind, ImageId, Party, SeenImage, UserId};
use tokio::time::Instant;

use crate::changes::Event;

/// How long a look holds: so soon after a share was withdrawn a watch tells nothing more of the image.
const HOLDS: Duration = Duration::from_millis(250);

/// What a watch may tell of other people's images.
#[derive(Debug)]
pub(super) struct Sight {
    user: UserId,
    /// Images that are shared with everyone are told of, too: they were named by their ids.
    everyones: bool,
    seen: HashMap<ImageId, SeenImage>,
    looked_at: Option<Instant>,
    /// Named images that were told to be gone.
    gone: HashSet<ImageId>,
}

impl Sight {
    pub(super) fn new(user: UserId, everyones: bool) -> Self {
        Self { user, everyones, seen: HashMap::new(), looked_at: None, gone: HashSet::new() }
    }

    /// Whether somebody has to look before anything is told of an image of this owner.
    pub(super) fn is_needed(&self, owner: UserId) -> bool {
        owner != self.user && self.looked_at.is_none_or(|at| at.elapsed() >= HOLDS)
    }

    /// Others are to be told of than were looked at.
    pub(super) fn forget(&mut self) {
        self.looked_at = None;
    }

    /// Looked, `at` that time or later, at all that is to be told of: these are seen.
    pub(super) fn looked(&mut self, at: Instant, seen: Vec<SeenImage>) {
        self.seen = seen.into_iter().map(|seen| (seen.image.id, seen)).collect();
        self.looked_at = Some(at);
    }

    /// What the user may do with an image that the watch is about; `None` when nothing is to be told of it.
    pub(super) fn access(&mut self, owner: UserId, image: ImageId) -> Option<Access> {
        if owner == self.user {
            return Some(Access::Owner);
        }
        let access = self.seen.get(&image).filter(|seen| seen.named || self.everyones)?.access;
        self.gone.remove(&image);
        Some(access)
    }

    /// Whether a change is to be told, apart from what [`access`](Self::access) says of its image.
    pub(super) fn tells(&mut self, event: &Event) -> bool {
        let (image, owner) = (event.change.image, event.change.owner);
        let named = owner == self.user || self.seen.get(&image).is_some_and(|seen| seen.named);
        if event.change.audience() == Party::EVERYONE && named {
            // The user's own part of the log tells it.
            return false;
        }
        if event.change.kind != ChangeKind::Deleted || owner == self.user {
            return true;
        }
        // It may have been shared again since, or be shared in another way. The end of two shares is told once.
        self.access(owner, image).is_none() && (!self.everyones || self.gone.insert(image))
    }
}

#[cfg(test)]
mod tests {
    use tintype_store::{BlobKey, Change, Format, Image, ImageHeader, Labels, Timestamp};
    use tokio::time::advance;

    use super::*;

    const ADA: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const ID: ImageId = ImageId(40);

    fn event(kind: ChangeKind, viewer: UserId) -> Event {
        let change = Change { position: 1, image: ID, owner: ADA, viewer: Some(viewer), kind, rendition: None, at: Timestamp(0) };
        Event { change, image: None }
    }

    fn seen(named: bool) -> Vec<SeenImage> {
        let header = ImageHeader { format: Format::Png, width: 1, height: 1, frame_count: 1 };
        let image = Image {
            id: ID,
            owner: ADA,
            file_name: "a.png".to_owned(),
            header,
            size_bytes: 1,
            sha256: [0; 32],
            thumbhash: None,
            blob: BlobKey::original(ADA, Format::Png),
            labels: Labels::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            renditions: Vec::new(),
        };
        vec![SeenImage { image, access: Access::Viewer, named }]
    }

    /// Whether a watch with that sight of the image tells each of: created and deleted in the user's part of the log, and in everyone's.
    fn told(everyones: bool, seen: &[SeenImage]) -> [bool; 4] {
        [
            (ChangeKind::Created, BOB),
            (ChangeKind::Deleted, BOB),
            (ChangeKind::Created, Party::EVERYONE),
            (ChangeKind::Deleted, Party::EVERYONE),
        ]
        .map(|(kind, viewer)| {
            let mut sight = Sight::new(BOB, everyones);
            sight.looked(Instant::now(), seen.to_vec());
            let accessible = kind == ChangeKind::Deleted || sight.access(ADA, ID).is_some();
            sight.tells(&event(kind, viewer)) && accessible
        })
    }

    #[test]
    fn what_is_seen_is_told_once_and_its_end_when_it_is_seen_no_more() {
        assert_eq!(told(true, &seen(true)), [true, false, false, false], "by name, and maybe also as one of everyone");
        assert_eq!(told(true, &seen(false)), [true, false, true, false], "as one of everyone");
        assert_eq!(told(true, &[]), [false, true, false, true]);
        assert_eq!(told(false, &seen(true))[..2], [true, false]);
        assert_eq!(told(false, &seen(false))[..2], [false, true], "a watch of all that is one's own is not about everyone's");
        assert_eq!(told(false, &[])[..2], [false, true]);
    }

    #[test]
    fn the_end_of_two_shares_is_told_once_and_again_after_another_one() {
        let mut sight = Sight::new(BOB, true);
        sight.looked(Instant::now(), Vec::new());
        assert!(sight.tells(&event(ChangeKind::Deleted, BOB)));
        assert!(!sight.tells(&event(ChangeKind::Deleted, Party::EVERYONE)));
        sight.looked(Instant::now(), seen(false));
        assert_eq!(sight.access(ADA, ID), Some(Access::Viewer));
        sight.looked(Instant::now(), Vec::new());
        assert!(sight.tells(&event(ChangeKind::Deleted, Party::EVERYONE)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_holds_for_a_moment_and_for_what_was_looked_at() {
        let mut sight = Sight::new(BOB, false);
        assert!(sight.is_needed(ADA) && !sight.is_needed(BOB));
        sight.looked(Instant::now(), Vec::new());
        assert!(!sight.is_needed(ADA));
        sight.forget();
        assert!(sight.is_needed(ADA));
        sight.looked(Instant::now(), Vec::new());
        advance(HOLDS).await;
        assert!(sight.is_needed(ADA));
    }
}
