#include "agent/process/confinement.h"

#include "agent/process/limits.h"

#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

// The preset tsan defines it itself, since it hides __SANITIZE_THREAD__ from the libraries'
// headers.
#ifndef SONDE_SANITIZED
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SONDE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SONDE_SANITIZED 1
#endif
#endif
#endif

namespace agent::process {
namespace {

base::Result<void> limit(int resource, uint64_t value) {
  rlimit limits{value, value};
  if (setrlimit(static_cast<__rlimit_resource>(resource), &limits) != 0)
    return base::errno_error("setrlimit", errno);
  return {};
}

base::Result<void> limit_resources(uint64_t mapped_bytes) {
  TRY(limit(RLIMIT_CORE, 0));
  TRY(limit(RLIMIT_FSIZE, 0));
  TRY(limit(RLIMIT_NOFILE, 0));
  TRY(limit(RLIMIT_CPU, kWorkerCpuSeconds));
#ifndef SONDE_SANITIZED // their shadow memory needs terabytes of address space
  // Libraries and stack are there already; a gigabyte of address space costs nothing.
  TRY(limit(RLIMIT_AS, mapped_bytes + kWorkerDataBytes + (uint64_t{1} << 30)));
  TRY(limit(RLIMIT_DATA, kWorkerDataBytes));
#else
  (void)mapped_bytes;
#endif
  return {};
}

base::Result<void> filter_calls() {
  std::unique_ptr<void, decltype(&seccomp_release)> filter(
      seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release);
  if (filter == nullptr) return base::internal("seccomp_init failed");
  for (int call :
       {SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
        SCMP_SYS(brk), SCMP_SYS(futex), SCMP_SYS(getrandom), SCMP_SYS(clock_gettime),
        SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn)})
    if (seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0) != 0)
      return base::internal("seccomp_rule_add failed");
#ifdef SONDE_SANITIZED // before a function that does not return they ask where the stacks are
  if (seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(sigaltstack), 0) != 0)
    return base::internal("seccomp_rule_add failed");
#endif
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
    if (seccomp_rule_add(
            filter.get(), SCMP_ACT_ALLOW, call, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) != 0)
      return base::internal("seccomp_rule_add failed");
  // libdw asks for its file's name, and does well without an answer.
  for (int call : {SCMP_SYS(readlink), SCMP_SYS(readlinkat)})
    if (seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EACCES), call, 0) != 0)
      return base::internal("seccomp_rule_add failed");
  if (int failed = seccomp_load(filter.get()); failed != 0)
    return base::errno_error("seccomp_load", -failed);
  return {};
}

} // namespace

base::Result<void> drop_privileges(uint32_t user) {
  if (geteuid() == 0) {
    if (setgroups(0, nullptr) != 0) return base::errno_error("setgroups", errno);
    if (setresgid(user, user, user) != 0) return base::errno_error("setresgid", errno);
    if (setresuid(user, user, user) != 0) return base::errno_error("setresuid", errno);
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) return base::errno_error("capset", errno);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return base::errno_error("no_new_privs", errno);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return base::errno_error("dumpable", errno);
  return {};
}

base::Result<void> confine(uint64_t mapped_bytes) {
  TRY(limit_resources(mapped_bytes));
  return filter_calls();
}

} // namespace agent::process
