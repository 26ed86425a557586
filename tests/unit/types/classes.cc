// SPDX-License-Identifier: Apache-2.0
// classes.cc - C++: namespaces, templates, bases, constructors.
#include "fixture.h"

#include <new>

namespace net {

struct Stamp { long seconds, nanos; };

class Base {
public:
	virtual ~Base() {}
	int id = 1;
};

class Counted {
public:
	long count = 0;
	static long total;
};

class Session : public Base, public Counted {
public:
	explicit Session(int n);
	~Session() override;
	Stamp seen;
	char *buffer = nullptr;
};

class Shared : public virtual Base {
public:
	long own = 2;
};

class Deep : public Shared {
public:
	long mine = 3;
};

template <typename Key, int Many> struct Pool {
	Key keys[Many];
	Pool *next;
	struct Slot { Key *at; };
	Slot slot;
};

__attribute__((noinline)) Session::Session(int n) { seen.seconds = n; }
Session::~Session() {}
long Counted::total = 7;

} // namespace net

namespace { struct Hidden { int here; Hidden *next; }; }

net::Session *g_session;
net::Pool<unsigned long, 3> g_pool;
static Hidden g_hidden;
static net::Deep *g_deep;
void *volatile g_any;

__attribute__((noinline)) static void make_session()
{
	fixture_name("new");
	g_session = new net::Session(4);
}

__attribute__((noinline)) static void *make_pool()
{
	fixture_name("template");
	auto *pool = new net::Pool<unsigned long, 3>();
	pool->next = &g_pool;
	return pool;
}

__attribute__((noinline)) static void make_deep()
{
	fixture_name("deep");
	g_deep = new net::Deep();
}

int main()
{
	make_session();
	g_any = make_pool();
	make_deep();
	fixture_address("data", "g_session", &g_session);
	fixture_address("data", "g_pool", &g_pool.slot);
	fixture_address("data", "g_hidden", &g_hidden);
	fixture_address("data", "g_deep", &g_deep);
	fixture_address("data", "total", &net::Counted::total);
	return 0;
}
