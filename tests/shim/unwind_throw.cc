// SPDX-License-Identifier: Apache-2.0
// unwind_throw.cc - exceptions through frames that allocate: on the way in, in destructors while the
// stack is unwound, in handlers, and rethrown; caught at random depths.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static thread_local uint64_t random_state = 88172645463325252u;

static uint32_t chance(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return static_cast<uint32_t>(random_state >> 20) % n;
}

struct Noisy {
	std::string name;
	std::unique_ptr<int[]> block;
	explicit Noisy(int n) : name("a name that does not fit " + std::to_string(n)), block(new int[n + 1]) {}
	~Noisy() { std::vector<std::string> last(2, name + " at its end"); }
};

struct Special : std::runtime_error {
	Noisy inside;
	explicit Special(int n) : std::runtime_error("special, " + std::to_string(n)), inside(n) {}
};

__attribute__((noinline)) static int dive(int depth)
{
	Noisy here(depth);
	std::map<int, std::string> map;

	for (int i = 0; i < 3; i++)
		map[i] = here.name;
	if (depth <= 0) {
		if (chance(3) == 0)
			throw Special(static_cast<int>(chance(50)));
		if (chance(2))
			throw std::string("a string that is thrown and long enough");
		return 1;
	}
	if (chance(3) == 0) {
		try {
			return dive(depth - 1);
		} catch (const std::exception &e) {
			std::string text = std::string("met ") + e.what();

			if (chance(2))
				throw;
			return static_cast<int>(text.size());
		} catch (...) {
			Noisy handling(3);

			if (chance(3) == 0)
				throw std::out_of_range("instead of " + handling.name);
			return 2;
		}
	}
	std::function<int()> call = [&, depth] { return dive(depth - 1) + static_cast<int>(map.size()); };
	return call();
}

static void run(uint64_t seed)
{
	random_state += seed;
	for (int i = 0; i < 3000; i++) {
		try {
			dive(static_cast<int>(chance(30)));
		} catch (...) {
			std::exception_ptr current = std::current_exception();

			try {
				std::rethrow_exception(current);
			} catch (const Special &e) {
				std::string copy = e.what();
			} catch (...) {
				std::string copy(40, 'x');
			}
		}
	}
}

int main()
{
	std::thread a(run, 1), b(run, 2);

	run(3);
	a.join();
	b.join();
	std::puts("done");
	return 0;
}
