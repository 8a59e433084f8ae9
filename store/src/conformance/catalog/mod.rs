//! What every adapter of [`Catalog`](crate::catalog::Catalog) keeps.

mod changes;
mod deletion;
mod edits;
mod images;
mod integrity;
mod jobs;
mod leases;
mod links;
mod listing;
mod overview;
mod publisher;
mod shares;
pub(crate) mod support;
mod tokens;
mod upkeep;
mod uploads;
mod usage;
mod users;
pub(crate) mod versions;
mod widened;
mod writes;

/// A module `$adapter` with a test for each case of each family; `support::$adapter` runs a case on a catalog of its own.
macro_rules! suite {
    ($adapter:ident; $($family:ident: $($case:ident)+;)+) => {
        mod $adapter {
            $(mod $family {
                $(#[test]
                fn $case() {
                    super::super::support::$adapter(super::super::$family::$case);
                })+
            })+
        }
    };
}

macro_rules! catalog_suite {
    ($($adapter:ident)+) => {
        $(suite! { $adapter;
            users:
                a_user_reads_back_as_created
                user_names_are_told_apart_by_case
                a_taken_name_is_refused
                users_are_listed_in_order_and_a_few_at_a_time
                a_change_changes_what_it_names
                the_last_administrator_stays
                administrators_who_remove_each_other_at_once_leave_one
                a_deleted_user_is_gone_and_the_name_is_free
                nothing_is_created_for_a_user_who_is_deleted_at_once;
            tokens:
                a_token_signs_its_user_in
                a_token_ends_at_its_time
                a_token_of_a_disabled_user_signs_nobody_in
                tokens_are_listed_newest_first_and_a_few_at_a_time
                a_token_is_revoked_by_its_user_alone
                a_new_password_revokes_all_tokens_of_its_user
                no_token_outlives_a_password_that_changes_at_once;
            usage:
                an_image_beyond_the_quota_is_not_recorded
                a_repeated_request_is_answered_whatever_the_quota
                renditions_are_counted_and_never_refused
                of_images_at_once_those_are_recorded_that_fit
                usage_is_the_sum_of_what_is_there_after_anything;
            images:
                an_image_reads_back_as_created
                an_image_may_have_no_renditions
                ids_are_never_given_twice
                what_is_not_there_is_none
                many_images_are_read_at_once
                a_repeated_request_returns_the_first_image_and_writes_nothing
                a_request_id_is_its_owners_own
                of_concurrent_requests_one_makes_the_image
                a_repeated_request_after_deletion_makes_nothing
                abandoned_calls_leave_nothing_half_done;
            listing:
                pages_are_complete_and_disjoint
                filters_show_exactly_what_matches;
            shares:
                an_image_is_seen_by_those_it_is_shared_with
                sharing_again_changes_the_role
                a_share_with_nobody_looks_like_any_other
                no_more_shares_than_allowed_also_at_once
                what_a_deleted_user_shared_is_not_seen
                lists_and_walks_show_all_that_is_seen_once
                those_it_is_shared_with_are_told_of_every_change
                no_change_falls_between_a_share_and_its_news;
            deletion:
                deletion_dooms_every_blob_until_it_is_forgotten
                a_postponed_blob_has_its_turn_after_the_others
                a_blob_in_use_is_not_forgotten
                deletion_while_running_loses_the_lease
                deletion_and_completion_at_once_leave_nothing_behind;
            edits:
                a_requested_rendition_is_pending_and_made_as_its_spec_says
                equal_specs_are_one_rendition_in_whatever_state
                of_equal_specs_at_once_one_is_recorded
                renditions_beyond_the_limit_or_the_quota_are_not_recorded
                a_requested_rendition_whose_turn_comes_at_a_used_up_quota_says_so
                what_is_asked_is_done_for_those_who_may_edit
                nothing_is_written_for_an_editor_after_the_share_is_withdrawn
                nothing_is_asked_of_what_is_deleted
                requests_and_deletion_at_once_leave_nothing_behind
                a_change_of_an_image_changes_what_it_names
                labels_of_changes_at_once_are_all_there_as_far_as_they_fit;
            jobs:
                of_concurrent_claims_one_is_granted
                a_granted_claim_has_all_that_is_needed
                only_what_is_pending_can_be_claimed
                a_completed_rendition_is_ready
                the_first_thumbhash_of_an_image_is_kept_also_of_those_at_once
                a_repeated_complete_is_done_and_writes_nothing
                a_failed_rendition_says_why
                a_released_rendition_waits_for_its_time
                an_uncounted_release_takes_the_attempt_back
                only_a_failed_rendition_can_be_retried;
            leases:
                a_late_result_changes_nothing
                a_renewed_lease_does_not_run_out
                times_of_a_clock_that_was_ahead_are_pulled_back
                a_right_to_publish_far_ahead_is_pulled_back
                leases_that_ran_out_begin_again_until_attempts_are_exhausted
                leases_end_a_few_at_a_time
                void_leases_run_out_at_once
                untold_renditions_are_told_once
                what_waits_longest_is_told_first;
            changes:
                every_transition_is_logged
                what_changes_nothing_is_not_logged
                a_follower_sees_every_change_once_and_in_order
                an_owners_changes_are_those_of_the_log
                changes_after_what_was_pruned_are_not_told;
            publisher:
                one_holds_the_right_to_publish_at_a_time
                of_concurrent_holders_one_is_chosen
                what_is_published_is_noted_by_its_holder_alone;
            upkeep:
                the_store_id_is_decided_once
                of_concurrent_store_ids_one_is_decided
                the_latest_heartbeat_counts
                pruning_drops_only_what_is_old_and_a_few_at_a_time
                positions_go_on_after_pruning
                a_catalog_answers_pings;
            overview:
                an_empty_catalog_has_totals_of_zero
                totals_tell_what_is_there
                images_of_deleted_users_are_told_apart
                totals_are_the_sums_of_what_is_there_after_anything
                failures_are_listed_latest_first_and_a_few_at_a_time
                failure_filters_show_exactly_what_matches
                what_is_retried_or_deleted_is_no_failure_any_more;
            uploads:
                an_upload_reads_back_as_recorded_and_counts
                whoever_takes_an_upload_shuts_out_the_one_before
                of_holders_at_once_the_latest_is_left
                a_finished_upload_is_an_image_and_no_more_an_upload
                what_comes_late_of_an_earlier_stream_counts_for_nothing
                who_finishes_an_upload_learns_what_is_left_of_it
                unfinished_uploads_count_toward_the_quota
                a_dropped_upload_is_gone_and_counts_no_more
                stale_uploads_are_the_old_ones_and_those_of_deleted_users
                what_an_upload_began_is_not_unrecorded;
            links:
                a_link_reads_back_as_recorded_and_counts
                a_repeated_link_is_the_first_one_until_that_expires
                of_equal_links_at_once_one_is_recorded
                links_beyond_the_quota_are_not_recorded
                of_those_that_come_at_once_one_is_received
                nothing_comes_for_a_user_who_is_disabled_or_deleted
                a_finished_link_is_an_image_and_closed
                of_those_who_finish_a_link_at_once_one_makes_the_image
                a_closed_link_counts_no_more_and_can_begin_anew
                stale_links_are_the_expired_ones_and_those_of_deleted_users
                of_keys_at_once_one_is_everybodys;
            integrity:
                every_recorded_blob_is_met_once_and_a_few_at_a_time
                a_remade_rendition_is_pending_and_counts_no_more
                only_a_ready_rendition_with_that_output_is_remade_and_once;
            writes:
                a_noted_write_is_stale_after_its_time
                a_write_noted_again_is_the_latest
                a_write_that_an_upload_names_is_stale_only_after_it
                a_forgotten_write_is_gone
                stale_writes_come_oldest_first_and_a_few_at_a_time
                unrecorded_are_the_keys_without_a_row;
            versions:
                a_newer_schema_that_allows_it_is_worked_with
                a_newer_schema_that_needs_newer_programs_is_refused_by_its_numbers
                an_image_of_a_newer_version_takes_nothing_from_lists
                what_only_newer_workers_can_make_is_left_as_it_is
                a_change_of_a_newer_version_is_another_look_at_the_image
                a_role_or_scope_of_a_newer_version_is_good_for_nothing
                a_share_of_a_newer_version_lets_look
                a_worker_of_a_newer_version_counts_with_what_is_known_of_it
                a_failure_of_a_newer_version_is_listed_and_counted;
            widened:
                a_requested_rendition_is_pending_and_made_as_its_spec_says
                a_remade_rendition_is_pending_and_counts_no_more
                leases_that_ran_out_begin_again_until_attempts_are_exhausted
                a_link_reads_back_as_recorded_and_counts
                totals_are_the_sums_of_what_is_there_after_anything
                lists_and_walks_show_all_that_is_seen_once
                those_it_is_shared_with_are_told_of_every_change
                a_token_of_a_disabled_user_signs_nobody_in
                a_finished_upload_is_an_image_and_no_more_an_upload
                usage_is_the_sum_of_what_is_there_after_anything
                a_deleted_user_is_gone_and_the_name_is_free
                unrecorded_are_the_keys_without_a_row;
        })+
    };
}

catalog_suite!(sqlite postgres);

#[test]
fn both_databases_have_migrations_of_the_same_names() {
    let names = |folder: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let entries = std::fs::read_dir(folder).expect("the folder can be read");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}
