#include "cpu/topology.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "cpu/thread_team.h"

namespace zaya::cpu {
namespace {

namespace fs = std::filesystem;

// A made-up /sys/devices/system.
class Sysfs {
 public:
  Sysfs() : root_(fs::path(testing::TempDir()) / ("sysfs-" + std::to_string(::getpid()))) { fs::remove_all(root_); }
  ~Sysfs() { fs::remove_all(root_); }
  const fs::path& root() const { return root_; }

  void write(const std::string& path, const std::string& content) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << content << "\n";
  }

  // Sockets of nodes of cores of `threads` processors; siblings are numbered as Linux does: first every core's first
  // processor, then every core's second.
  void machine(int sockets, int nodes_per_socket, int cores_per_node, int threads) {
    const int nodes = sockets * nodes_per_socket, cores = nodes * cores_per_node;
    write("cpu/online", "0-" + std::to_string(cores * threads - 1));
    write("node/online", nodes == 1 ? "0" : "0-" + std::to_string(nodes - 1));
    std::vector<std::string> members(static_cast<size_t>(nodes));
    for (int id = 0; id < cores * threads; ++id) {
      const int core = id % cores, node = core / cores_per_node;
      std::string siblings = std::to_string(core);
      for (int t = 1; t < threads; ++t) siblings += "," + std::to_string(core + t * cores);
      const std::string place = "cpu/cpu" + std::to_string(id) + "/topology/";
      write(place + "physical_package_id", std::to_string(node / nodes_per_socket));
      write(place + "thread_siblings_list", siblings);
      std::string& list = members[static_cast<size_t>(node)];
      list += (list.empty() ? "" : ",") + std::to_string(id);
    }
    for (int node = 0; node < nodes; ++node) {
      write("node/node" + std::to_string(node) + "/cpulist", members[static_cast<size_t>(node)]);
    }
  }

 private:
  fs::path root_;
};

std::vector<int> ids(const std::vector<const Processor*>& plan) {
  std::vector<int> result;
  for (const Processor* p : plan) result.push_back(p->id);
  return result;
}

TEST(Topology, ParsesLists) {
  EXPECT_EQ(parse_list("0-3,8"), (std::set<int>{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_list("5"), (std::set<int>{5}));
  EXPECT_EQ(parse_list("7-6,2"), (std::set<int>{2}));
  EXPECT_EQ(parse_list("x,,-1,3-"), std::set<int>());
  EXPECT_EQ(parse_list(""), std::set<int>());
  EXPECT_EQ(parse_list("65534-2000000000").size(), 2u);
}

TEST(Topology, ReadsTwoSocketsWithSiblings) {
  Sysfs sysfs;
  sysfs.machine(2, 2, 4, 2);
  sysfs.write("cpu/cpu0/cache/index0/level", "1");
  sysfs.write("cpu/cpu0/cache/index0/type", "Data");
  sysfs.write("cpu/cpu0/cache/index0/size", "48K");
  sysfs.write("cpu/cpu0/cache/index0/shared_cpu_list", "0,16");
  const Topology t = read_topology(sysfs.root(), {});
  EXPECT_EQ(t.processors.size(), 32u);
  EXPECT_EQ(t.sockets(), 2);
  EXPECT_EQ(t.nodes(), 4);
  EXPECT_EQ(t.cores(), 16);
  EXPECT_EQ(t.processors[21].core, 5);
  EXPECT_EQ(t.processors[21].node, 1);
  EXPECT_EQ(t.processors[31].socket, 1);
  ASSERT_EQ(t.caches.size(), 1u);
  EXPECT_EQ(t.caches[0].bytes, 48 << 10);
  EXPECT_EQ(t.caches[0].processors, 2);

  // An affinity mask leaves what it leaves: two siblings of one core, and one processor of another node.
  const Topology part = read_topology(sysfs.root(), {3, 19, 12});
  EXPECT_EQ(part.processors.size(), 3u);
  EXPECT_EQ(part.cores(), 2);
  EXPECT_EQ(part.nodes(), 2);
}

TEST(Topology, TakesTheSimplestWhereNothingIsSaid) {
  Sysfs sysfs;
  const Topology bare = read_topology(sysfs.root(), {2, 5});
  EXPECT_EQ(bare.processors.size(), 2u);
  EXPECT_EQ(bare.cores(), 2);
  EXPECT_EQ(bare.nodes(), 1);
  EXPECT_FALSE(read_topology(sysfs.root(), {}).processors.empty());
  sysfs.write("cpu/online", "0-1");
  sysfs.write("cpu/cpu0/topology/thread_siblings_list", "garbage");
  sysfs.write("cpu/cpu1/topology/physical_package_id", "-7");
  sysfs.write("node/online", "0-1");
  const Topology odd = read_topology(sysfs.root(), {});
  EXPECT_EQ(odd.cores(), 2);
  EXPECT_EQ(odd.sockets(), 1);
  EXPECT_EQ(odd.nodes(), 1);
}

TEST(Topology, WorkersGetCoresBeforeSiblingsAndNodesTheirShare) {
  Sysfs sysfs;
  sysfs.machine(2, 1, 4, 2);  // node 0: cores 0-3 and siblings 8-11, node 1: 4-7 and 12-15
  const Topology t = read_topology(sysfs.root(), {});
  EXPECT_EQ(ids(plan_workers(t, 8)), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(ids(plan_workers(t, 3)), (std::vector<int>{0, 1, 4}));
  EXPECT_EQ(ids(plan_workers(t, 10)), (std::vector<int>{0, 1, 2, 3, 8, 4, 5, 6, 7, 12}));
  EXPECT_EQ(ids(plan_workers(t, 17)).size(), 17u);  // one more than there are processors
  // Three cores on one node, one on the other.
  const Topology uneven = read_topology(sysfs.root(), {0, 1, 2, 4});
  EXPECT_EQ(ids(plan_workers(uneven, 4)), (std::vector<int>{0, 1, 2, 4}));
}

TEST(Topology, RowsLieWithTheWorkersOfTheirNode) {
  Sysfs sysfs;
  sysfs.machine(2, 1, 4, 1);
  const Topology t = read_topology(sysfs.root(), {});
  const auto three = plan_workers(t, 3);  // two on node 0, one on node 1
  const std::vector<RowRange> ranges = plan_rows(three, 16 * 30 + 5, 16);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].node, 0);
  EXPECT_EQ(ranges[0].begin, 0);
  EXPECT_EQ(ranges[0].end, 16 * 20);
  EXPECT_EQ(ranges[1].node, 1);
  EXPECT_EQ(ranges[1].begin, 16 * 20);
  EXPECT_EQ(ranges[1].end, 16 * 30 + 5);
  EXPECT_EQ(plan_rows(plan_workers(t, 8), 1, 16).back().end, 1);
}

TEST(Topology, ThisMachineHasRoomForATeam) {
  EXPECT_GE(machine().cores(), 1);
  EXPECT_EQ(ThreadTeam::default_size(), machine().cores());
  EXPECT_EQ(plan_workers(machine(), 5).size(), 5u);
}

}  // namespace
}  // namespace zaya::cpu
