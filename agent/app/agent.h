// The whole agent: threads and the queues between them.
//
//   link → control thread → probe thread → kernel → event thread → exporter
//   inventory → process thread → probe thread, link
#pragma once

#include "agent/app/assignments.h"
#include "agent/app/config.h"
#include "agent/app/event_thread.h"
#include "agent/app/probe_thread.h"
#include "agent/app/table_checks.h"
#include "agent/export/exporter.h"
#include "agent/identity/identity.h"
#include "agent/link/link.h"
#include "agent/process/inventory.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace agent::app {

class Agent {
 public:
  // Everything that can fail at the start, but for the control plane: that may come later.
  static base::Result<std::unique_ptr<Agent>>
  start(Config config, std::unique_ptr<identity::Identity> identity, plan::LocalPolicy policy);
  // Detaches, sends what was captured, and ends the threads.
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Call every heartbeat_interval().
  void heartbeat();
  std::chrono::nanoseconds heartbeat_interval() const;
  // No process is traced.
  bool is_idle() const { return is_idle_; }

 private:
  Agent(Config config, std::unique_ptr<identity::Identity> identity, plan::LocalPolicy policy);

  base::Result<> start_inventory();
  link::Sources link_sources();
  void follow_link();
  void handle(const link::Connected& connected);
  void handle(const link::Disconnected& disconnected);
  void handle(const sonde::v1::Delta& delta, base::Nanoseconds received_at);
  void handle(const sonde::v1::LeaseRefresh& refresh, base::Nanoseconds received_at);
  void follow_processes();
  void process_appeared(process::GoProcess process);
  void process_ended(const process::GoProcess& process);
  void acknowledge(sonde::v1::Ack ack) const;
  // Call with the lock: adds what the programs of this host say of the tables.
  void check_tables_locked(sonde::v1::Ack& ack);
  void retrace(const probe::Traced& traced);
  sonde::v1::Hello hello() const;
  std::vector<sonde::v1::Process> describe_processes() const;

  const Config config_;
  const base::SystemClock clock_;
  const probe::KernelFeatures features_;
  const sonde::v1::Hello host_;
  std::unique_ptr<identity::Identity> identity_;

  mutable std::mutex mutex_; // of the three that follow
  Assignments assignments_;
  TableChecks table_checks_;
  std::map<uint32_t, process::GoProcess> processes_; // by pid
  std::atomic<bool> is_idle_ = true;

  std::unique_ptr<exporter::Exporter> exporter_;
  std::unique_ptr<ProbeThread> probe_thread_;
  std::unique_ptr<EventThread> event_thread_;
  base::Queue<process::InventoryEvent> inventory_events_;
  std::unique_ptr<process::Inventory> inventory_;
  base::Queue<link::Event> link_events_;
  std::unique_ptr<link::Link> link_;
  std::jthread process_thread_;
  std::jthread control_thread_;
};

} // namespace agent::app
