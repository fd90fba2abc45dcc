//! The rows. A wait channel is the first function of the stack that is neither the scheduler's nor a lock's, so a
//! waiter for a mutex shows who called `mutex_lock`; those callers stand here, from the kernel's sources (3.10 to
//! 6.18) and from what the lab saw. The first rows are those of the five incidents.

use super::{Nature, Resource, Row};

const fn resource(
    name: &'static str,
    nature: Nature,
    title: &'static str,
    explain: &'static str,
    act: &'static [&'static str],
    avoid: &'static [&'static str],
) -> Resource<'static> {
    Resource { name, title, explain, nature, act, avoid }
}

/// What is known.
pub const TABLE: &[Row] = &[
    Row {
        resource: resource(
            "rtnl",
            Nature::Lock,
            "the network configuration lock (rtnl_mutex)",
            "Every change and many a look at interfaces, addresses and routes goes through this one lock. While it is \
             held, routing daemons cannot program routes and new containers get no network.",
            &[
                "If the probable holder is throttled, lift the CPU quota of its group: it goes on within milliseconds.",
            ],
            &["Do not run ip, ifconfig or ethtool to look: they queue up behind the lock."],
        ),
        waits: "rtnl_lock rtnl_lock_killable rtnl_trylock rtnl_dumpit rtnl_net_lock rtnetlink_rcv_msg \
              rtnetlink_rcv __netlink_dump_start netlink_dump dev_ioctl devinet_ioctl inet_ioctl \
              addrconf_verify_work addrconf_dad_work linkwatch_event register_netdev unregister_netdev \
              register_netdevice_notifier unregister_netdevice_notifier netdev_run_todo netdev_wait_allrefs \
              speed_show duplex_show carrier_show carrier_store netdev_store tun_chr_close __tun_chr_ioctl \
              tun_chr_ioctl ip_mroute_setsockopt ip_setsockopt do_ip_setsockopt ipv6_sock_mc_join \
              ip_mc_join_group default_device_exit_batch cleanup_net setup_net copy_net_ns packet_set_ring \
              ipv6_route_ioctl ip_rt_ioctl inet6_ioctl br_ioctl_stub bond_mii_monitor vlan_ioctl_handler \
              ethnl_default_doit wext_netdev_notifier_call",
        holds: "rtnetlink_rcv_msg dev_ethtool __dev_change_flags dev_change_flags register_netdevice \
              unregister_netdevice_many unregister_netdevice_many_notify rtnl_newlink rtnl_dellink \
              rtnl_dump_ifinfo rtnl_setlink do_setlink speed_show duplex_show dev_ioctl netdev_run_todo \
              inet_rtm_newaddr inet_rtm_newroute linkwatch_event ethnl_default_doit",
    },
    Row {
        resource: resource(
            "cgroup_mutex",
            Nature::Lock,
            "the lock of all control groups (cgroup_mutex)",
            "Making, removing and changing a control group goes through this one lock. While it is held, no service \
             and \
             no container starts or stops, and logins hang, while what runs already looks healthy.",
            &["Take a crash dump before anything else: what holds the lock is only in there."],
            &[
                "Do not close the shell that you have: a new login needs a new control group.",
                "Do not start or stop services to look: they queue up behind the lock.",
            ],
        ),
        waits: "cgroup_kn_lock_live cgroup_lock cgroup_lock_and_drain_offline proc_cgroup_show \
              proc_cgroupstats_show cgroupstats_build cgroup_mkdir cgroup_rmdir cgroup_rename \
              cgroup_attach_task_all cgroup_transfer_tasks cgroup_procs_write_start __cgroup_procs_write \
              cgroup_subtree_control_write cgroup1_pidlist_destroy_all cgroup1_release_agent cgroup1_get_tree \
              cgroup_get_tree cgroup_show_path css_killed_work_fn css_release_work_fn css_free_rwork_fn \
              css_create cgroup_free_root cgroup_kill_sb cgroup_bpf_prog_attach cgroup_bpf_release \
              cpuset_hotplug_workfn cgroup_release cgroup_exit copy_cgroup_ns mem_cgroup_force_empty_write \
              memcg_offline_kmem",
        holds: "cgroup_rmdir cgroup_destroy_locked cgroup_mkdir cgroup_apply_control cgroup_apply_control_enable \
              cgroup_apply_control_disable cgroup_procs_write __cgroup_procs_write \
              cgroup_subtree_control_write kill_css css_killed_work_fn css_release_work_fn offline_css \
              mem_cgroup_css_offline rebind_subsystems cgroup_migrate \
              cgroup_lock_and_drain_offline cgroup_destroy_root",
    },
    Row {
        resource: resource(
            "rcu",
            Nature::GracePeriod,
            "an RCU grace period",
            "The kernel waits until every CPU has been outside of its read sections once. One CPU that does not leave \
             the \
             kernel makes all of them wait, and whoever waits here may hold locks meanwhile.",
            &[
                "Find the CPU: a kernel thread that spins, or dmesg with `rcu: INFO: … detected stalls on CPUs`.",
            ],
            &[],
        ),
        waits: "wait_rcu_gp __wait_rcu_gp synchronize_rcu synchronize_rcu_normal synchronize_sched \
              synchronize_rcu_expedited synchronize_rcu_tasks synchronize_rcu_tasks_generic rcu_barrier \
              rcu_barrier_tasks _rcu_barrier exp_funnel_lock synchronize_srcu __synchronize_srcu \
              synchronize_srcu_expedited synchronize_net rcu_sync_enter rcu_sync_dtor kvfree_rcu_barrier",
        holds: "",
    },
    Row {
        resource: resource(
            "journal",
            Nature::Io,
            "the journal of a filesystem (jbd2, XFS, btrfs)",
            "A transaction that cannot be committed stops every writer of that filesystem, one after the other. \
             Behind it \
             is nearly always I/O that does not complete.",
            &["Look at the disk, or at what serves it (hypervisor, array, network)."],
            &[
                "Do not run sync, df or fsck: they join the queue.",
                "Writers killed stay: they end when the I/O does.",
            ],
        ),
        waits: "jbd2_log_wait_commit jbd2_complete_transaction wait_transaction_locked \
              wait_transaction_switching add_transaction_credits start_this_handle do_get_write_access \
              jbd2_journal_get_write_access jbd2_journal_lock_updates jbd2_log_do_checkpoint \
              __jbd2_log_wait_for_space jbd2_journal_commit_transaction jbd2_journal_destroy \
              jbd2_update_log_tail jbd2_journal_flush xlog_grant_head_wait xlog_wait xlog_wait_on_iclog \
              xlog_wait_on_iclog_lsn xfs_log_force __xfs_log_force_lsn xfs_log_force_lsn xlog_force_lsn \
              xfs_ail_push_all_sync xfs_buf_lock xfs_buf_iowait xfs_buf_find_lock xfs_ilock wait_current_trans \
              btrfs_commit_transaction wait_for_commit btrfs_wait_for_commit btrfs_tree_read_lock \
              btrfs_tree_lock __btrfs_tree_lock __btrfs_tree_read_lock btrfs_sync_log",
        holds: "jbd2_journal_commit_transaction jbd2_journal_flush jbd2_log_do_checkpoint xlog_cil_push_work \
              xfsaild btrfs_commit_transaction",
    },
    Row {
        resource: resource(
            "block_io",
            Nature::Io,
            "I/O of a block device",
            "A read or a write was handed to a device and has not come back. Neither the kernel nor a signal ends \
             such a \
             wait.",
            &[
                "Look at the disk, or at what serves it (hypervisor, array, network); I/O that comes back frees them.",
            ],
            &["Do not run sync or df: they join the queue."],
        ),
        waits: "io_schedule bit_wait_io __wait_on_buffer wait_on_page_bit wait_on_page_bit_common __lock_page \
              __lock_page_killable folio_wait_bit_common folio_wait_bit __folio_lock folio_wait_writeback \
              wait_on_page_writeback __filemap_fdatawait_range __filemap_get_folio filemap_update_page \
              submit_bio_wait blk_execute_rq blk_execute_rq_nowait blk_mq_get_tag get_request rq_qos_wait \
              wbt_wait blk_queue_enter __bio_queue_enter __submit_bio blk_mq_freeze_queue_wait \
              blkdev_issue_flush blkdev_direct_IO __blkdev_direct_IO __blkdev_direct_IO_simple dio_await_one \
              dio_await_completion do_blockdev_direct_IO iomap_dio_rw __iomap_dio_rw wait_for_completion_io \
              md_write_start md_super_wait md_handle_request wait_barrier raid5_get_active_stripe \
              raise_barrier dm_wait_for_completion dm_submit_bio swap_readpage swap_read_folio \
              __swap_writepage read_swap_cache_async blkdev_get_by_dev bdev_open blkdev_put \
              bd_prepare_to_claim read_cache_folio do_read_cache_folio bh_read",
        holds: "",
    },
    Row {
        resource: resource(
            "freeze_or_migration",
            Nature::ObjectLock,
            "a per-CPU semaphore: a frozen filesystem, a move between control groups or a CPU being switched",
            "Writers to a filesystem that fsfreeze has frozen wait here, and so do forks and exits while a task is \
             moved \
             between control groups.",
            &["If somebody froze a filesystem (backup, snapshot), thaw it: fsfreeze -u MOUNTPOINT."],
            &[],
        ),
        waits: "percpu_rwsem_wait __percpu_down_read percpu_down_write __sb_start_write cpus_read_lock \
              cgroup_attach_lock freeze_super sb_wait_write cpuhp_kick_ap _cpu_up _cpu_down cpus_write_lock",
        holds: "cgroup_attach_task freeze_super thaw_super _cpu_up _cpu_down cgroup_migrate_execute",
    },
    Row {
        resource: resource(
            "directory",
            Nature::ObjectLock,
            "the lock of a directory or file (i_rwsem)",
            "Somebody makes, removes or renames in the same directory and does not come back, for a reason of its own: \
             that task is the one to look at.",
            &[],
            &[],
        ),
        waits: "filename_create lookup_slow __lookup_slow open_last_lookups do_last path_openat do_unlinkat \
              do_rmdir lock_rename do_renameat2 iterate_dir walk_component lookup_one_len start_dirop \
              d_alloc_parallel do_truncate chmod_common chown_common generic_file_write_iter \
              ext4_buffered_write_iter ext4_file_write_iter xfs_file_buffered_write notify_change vfs_setxattr \
              vfs_fileattr_set simple_recursive_removal",
        holds: "vfs_rmdir vfs_mkdir vfs_unlink vfs_rename vfs_create iterate_dir notify_change",
    },
    Row {
        resource: resource(
            "mmap_lock",
            Nature::ObjectLock,
            "the address space of a process (mmap_lock)",
            "Threads of one process, and tools that read its command line or maps, wait until a thread of it has done \
             with \
             its memory map.",
            &[],
            &["Do not run ps, top or pgrep -f: they read the command line of that process and hang with it."],
        ),
        waits: "lock_mm_and_find_vma do_user_addr_fault __do_page_fault do_page_fault exc_page_fault \
              vm_mmap_pgoff __vm_munmap vm_munmap __do_sys_brk __x64_sys_brk do_madvise do_mprotect_pkey \
              access_remote_vm __access_remote_vm get_mm_cmdline proc_pid_cmdline_read environ_read m_start \
              exit_mm dup_mm dup_mmap mremap __do_sys_mremap __mm_populate do_exit task_numa_work khugepaged \
              collapse_huge_page ksys_shmdt",
        holds: "dup_mmap exit_mmap do_munmap __do_munmap mmap_region mprotect_fixup",
    },
    Row {
        resource: resource(
            "exec_update_lock",
            Nature::ObjectLock,
            "a process in the middle of exec or ptrace (exec_update_lock)",
            "Tools that look into a process wait until its exec is over.",
            &[],
            &["Do not run ps or lsof on that process."],
        ),
        waits: "do_io_accounting proc_pid_stack proc_pid_syscall lock_trace mm_access begin_new_exec \
              prepare_bprm_creds ptrace_attach do_task_stat perf_event_open kcmp proc_pid_wchan",
        holds: "begin_new_exec exec_mmap load_elf_binary ptrace_attach",
    },
    Row {
        resource: resource(
            "writeback",
            Nature::Io,
            "dirty pages to be written",
            "There is more to write than the disks take, or a disk takes nothing; writers are held back until there \
             is room.",
            &["Look at the disks: one may be slow, or stuck."],
            &["Do not run sync."],
        ),
        waits: "balance_dirty_pages balance_dirty_pages_ratelimited balance_dirty_pages_ratelimited_flags \
              wb_wait_for_completion writeback_inodes_sb_nr __writeback_inodes_sb_nr sync_inodes_sb \
              inode_sleep_on_writeback __inode_wait_for_writeback wait_sb_inodes iterate_supers super_lock \
              grab_super ksys_sync super_cache_scan evict",
        holds: "sync_inodes_sb",
    },
    Row {
        resource: resource(
            "memory",
            Nature::Io,
            "memory to be reclaimed",
            "There is no free memory, on the host or in a control group, and what could be freed is not freed.",
            &["Raise memory.max of the group, or end what uses the memory."],
            &[],
        ),
        waits: "throttle_direct_reclaim reclaim_throttle congestion_wait wait_iff_congested \
              mem_cgroup_handle_over_high __mem_cgroup_handle_over_high mem_cgroup_oom_synchronize \
              mem_cgroup_out_of_memory out_of_memory shrink_slab register_shrinker register_shrinker_prepared \
              unregister_shrinker prealloc_shrinker lru_add_drain_all __lru_add_drain_all drain_all_pages \
              __drain_all_pages migration_entry_wait migration_entry_wait_on_locked drain_all_stock \
              kcompactd_do_work",
        holds: "shrink_slab mem_cgroup_out_of_memory out_of_memory",
    },
    Row {
        resource: resource(
            "workqueue",
            Nature::KernelThread,
            "work of a kernel workqueue",
            "The wait ends when a kworker has done what was queued; look at the kworkers, one hangs or gets no CPU.",
            &[],
            &[],
        ),
        waits: "flush_work __flush_work flush_workqueue __flush_workqueue drain_workqueue cancel_work_sync \
              __cancel_work_timer __cancel_work_sync cancel_delayed_work_sync flush_delayed_work \
              destroy_workqueue worker_attach_to_pool worker_detach_from_pool wq_worker_comm alloc_workqueue \
              apply_workqueue_attrs schedule_on_each_cpu work_on_cpu",
        holds: "",
    },
    Row {
        resource: resource(
            "stop_machine",
            Nature::KernelThread,
            "the migration thread of a CPU",
            "It has the highest priority that there is; when it does not run, that CPU does not leave the kernel.",
            &[],
            &[],
        ),
        waits: "stop_one_cpu stop_two_cpus stop_machine stop_machine_cpuslocked stop_cpus sched_exec \
              migrate_swap __set_cpus_allowed_ptr __set_cpus_allowed_ptr_locked affine_move_task \
              smp_call_on_cpu active_load_balance_cpu_stop",
        holds: "",
    },
    Row {
        resource: resource(
            "code_patching",
            Nature::Lock,
            "the lock for patching kernel code (text_mutex, jump labels, tracing)",
            "Tracing, perf, BPF and live patching change kernel code one after the other.",
            &["Look for tracers, perf and BPF tools that start and stop."],
            &[],
        ),
        waits: "static_key_slow_inc static_key_slow_dec static_key_enable static_key_disable \
              __static_key_slow_dec jump_label_lock text_poke_bp register_kprobe unregister_kprobe \
              ftrace_set_hash tracing_open bpf_trampoline_link_prog cpus_read_trylock load_module \
              idempotent_init_module delete_module __request_module",
        holds: "arch_jump_label_transform_apply text_poke_bp_batch smp_text_poke_batch_finish",
    },
    Row {
        resource: resource(
            "scsi_recovery",
            Nature::Io,
            "error recovery of a SCSI host",
            "The kernel resets a disk or its controller; nothing is served meanwhile.",
            &["Look at dmesg for aborts and resets; look at the array, the cable, the path."],
            &["Do not rescan the bus."],
        ),
        waits: "scsi_block_when_processing_errors scsi_error_handler scsi_eh_prep_cmnd scsi_send_eh_cmnd \
              ata_eh_wait ata_port_wait_eh nvme_wait_freeze nvme_wait_reset nvme_reset_work \
              blk_mq_quiesce_queue flush_scheduled_work",
        holds: "",
    },
    Row {
        resource: resource(
            "audit",
            Nature::KernelThread,
            "the audit log",
            "The kernel waits until auditd takes records. When auditd hangs, every audited system call hangs.",
            &["auditctl -b 65536 --backlog_wait_time 0 lets the callers go on."],
            &[],
        ),
        waits: "audit_log_start wait_for_auditd audit_receive audit_ctl_lock",
        holds: "audit_receive",
    },
    Row {
        resource: resource(
            "fanotify",
            Nature::Other,
            "the answer of a fanotify listener (virus scanner, backup, HSM)",
            "A program has asked the kernel to let it decide about each open, and does not decide.",
            &["Restart the listener: the opens go on when its descriptor is closed."],
            &[],
        ),
        waits: "fanotify_handle_event fanotify_get_response fsnotify_destroy_group fsnotify_wait_marks_destroyed",
        holds: "",
    },
    Row {
        resource: resource(
            "kernfs",
            Nature::ObjectLock,
            "a file below /sys or /sys/fs/cgroup that somebody still reads",
            "Removing a device or a control group waits until the last reader of its files has left.",
            &[],
            &[],
        ),
        waits: "kernfs_drain __kernfs_remove kernfs_remove_by_name_ns kernfs_iop_lookup kernfs_dop_revalidate \
              kernfs_iop_permission kernfs_iop_getattr kernfs_fop_readdir kernfs_fop_write_iter \
              kernfs_seq_start kernfs_add_one kernfs_fop_read_iter",
        holds: "__kernfs_remove",
    },
    Row {
        resource: resource(
            "device_lock",
            Nature::ObjectLock,
            "the lock of a device (probe, removal, reset)",
            "A driver's probe, removal or reset has not come back.",
            &["Look at dmesg for the driver's last words."],
            &[],
        ),
        waits: "device_release_driver device_release_driver_internal __driver_attach __device_driver_lock \
              __device_attach device_del pci_reset_function pci_device_shutdown usb_lock_device_for_reset \
              hub_event usb_kill_urb usb_disable_endpoint wait_for_device_probe vfio_device_ioctl",
        holds: "really_probe device_release_driver_internal __device_attach",
    },
];
