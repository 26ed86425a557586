/* SPDX-License-Identifier: Apache-2.0
 * containers.cc - C++ containers of strings that fill and empty: bench_containers ROUNDS
 *
 * Prints "cpu_ns=N sum=N"; sum depends on the work alone. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

static uint64_t seed = 88172645463325252u;

static uint64_t draw()
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static std::string word(uint64_t r)
{
	return std::string(1 + r % 60, static_cast<char>('a' + r % 26)) + std::to_string(r % 5000);
}

struct session {
	std::map<std::string, std::string> headers;
	std::vector<std::unique_ptr<std::string>> parts;
};

int main(int argc, char **argv)
{
	std::unordered_map<uint64_t, session> sessions;
	std::list<std::string> log;
	uint64_t sum = 0;
	long rounds = argc > 1 ? atol(argv[1]) : 100000;

	for (long i = 0; i < rounds; i++) {
		session &s = sessions[draw() % 3000];

		s.headers[word(draw())] = word(draw());
		s.parts.push_back(std::make_unique<std::string>(word(draw())));
		log.push_back(word(draw()));
		if (log.size() > 2000)
			log.pop_front();
		if (draw() % 20 == 0) {
			auto found = sessions.find(draw() % 3000);

			if (found != sessions.end()) {
				sum += found->second.headers.size() + found->second.parts.size();
				sessions.erase(found);
			}
		}
	}
	timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	printf("cpu_ns=%lld sum=%llu\n", used.tv_sec * 1000000000ll + used.tv_nsec,
	       static_cast<unsigned long long>(sum + log.size() + sessions.size()));
	return 0;
}
