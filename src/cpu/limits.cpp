#include "cpu/limits.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

namespace striate::cpu {
namespace {

/// First two numbers of a cgroup file; `absent` where it says "max" or is not there.
struct Pair {
  int64_t first, second;
};
Pair read_pair(const std::string& path, int64_t absent) {
  Pair pair{absent, absent};
  std::ifstream file(path);
  if (!(file >> pair.first)) return {absent, absent};
  if (!(file >> pair.second)) pair.second = absent;
  return pair;
}

/// Whether a comma-separated list holds `item`.
bool lists(std::string_view list, std::string_view item) {
  for (size_t comma; (comma = list.find(',')) != list.npos; list.remove_prefix(comma + 1)) {
    if (list.substr(0, comma) == item) return true;
  }
  return list == item;
}

/// Calls visit(directory, is_v2) for the process's cgroup under `controller` and all above it:
/// every ancestor's limit applies. Lines of /proc/self/cgroup read "id:controllers:path", with no
/// controllers for v2. Inside a container the path may not exist, but the root does.
template <class Visit>
void for_each_cgroup(std::string_view controller, const Visit& visit) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const bool is_v2 = controllers.empty();
    if (!is_v2 && !lists(controllers, controller)) continue;
    std::string root = "/sys/fs/cgroup";
    if (!is_v2) root.append("/").append(controller);
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      visit(root + path + "/", is_v2);
      if (path.rfind('/') == std::string::npos) break;
    }
  }
}

}  // namespace

int available_processors() {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof(set), &set) == 0
                  ? CPU_COUNT(&set)
                  : static_cast<int>(std::thread::hardware_concurrency());
  for_each_cgroup("cpu", [&](const std::string& directory, bool is_v2) {
    Pair limit = {-1, -1};  // microseconds of processor time, per period
    if (is_v2) {
      limit = read_pair(directory + "cpu.max", -1);
    } else {
      limit.first = read_pair(directory + "cpu.cfs_quota_us", -1).first;
      limit.second = read_pair(directory + "cpu.cfs_period_us", -1).first;
    }
    // Rounded down: a thread above the quota stalls the others for the rest of each period.
    if (limit.first > 0 && limit.second > 0) {
      count = static_cast<int>(std::min<int64_t>(count, limit.first / limit.second));
    }
  });
  return std::max(count, 1);
}

int64_t available_memory() {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  for_each_cgroup("memory", [&](const std::string& directory, bool is_v2) {
    const char* file = is_v2 ? "memory.max" : "memory.limit_in_bytes";
    const int64_t limit = read_pair(directory + file, -1).first;
    if (limit > 0) bytes = std::min(bytes, limit);
  });
  return bytes;
}

}  // namespace striate::cpu
