#include "tests/unit/agent/zk_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define JARS "/usr/share/java/"

/* It is used outside of tests too, where libcheck's assertions cannot be. */
static void must(bool ok, const char *what)
{
	if (ok) return;
	fprintf(stderr, "ZooKeeper for the tests: %s: %s (deploy/install-deps.sh?)\n", what,
		strerror(errno));
	abort();
}

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = loopback(0);
	socklen_t n = sizeof(a);
	must(bind(fd, (struct sockaddr *)&a, n) == 0, "bind");
	must(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "getsockname");
	close(fd);
	return ntohs(a.sin_port);
}

enum serves { SERVES_NOT, SERVES_CONNECTIONS, SERVES_ALL };

/* It accepts connections a moment before it serves, and without a quorum it never serves. */
static enum serves serves(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = loopback(port);
	char text[512] = "";
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && write(fd, "srvr", 4) == 4) {
		struct timeval limit = { 2, 0 };
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		if (read(fd, text, sizeof(text) - 1) <= 0) text[0] = '\0';
	}
	close(fd);
	if (!*text) return SERVES_NOT;
	return strncmp(text, "Zookeeper version", 17) == 0 ? SERVES_ALL : SERVES_CONNECTIONS;
}

static void ensemble_config(const struct zk_server *z, FILE *config, int servers)
{
	char path[96];
	fprintf(config, "initLimit=10\nsyncLimit=10\n");
	for (int i = 1; i <= servers; i++) {
		int quorum = free_port(), election = free_port();
		fprintf(config, "server.%d=127.0.0.1:%d:%d\n", i, quorum, election);
	}
	snprintf(path, sizeof(path), "%s/myid", z->dir);
	FILE *f = fopen(path, "w");
	must(f && fputs("1\n", f) >= 0 && fclose(f) == 0, path);
}

void zk_server_init(struct zk_server *z, int ensemble)
{
	*z = (struct zk_server){ .port = free_port() };
	strcpy(z->dir, "/tmp/twinring-zk-XXXXXX");
	must(mkdtemp(z->dir) != NULL, "mkdtemp");
	char path[96];
	snprintf(path, sizeof(path), "%s/zoo.cfg", z->dir);
	FILE *f = fopen(path, "w");
	must(f != NULL, path);
	fprintf(f,
		"tickTime=200\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\n"
		"admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n"
		"minSessionTimeout=400\nforceSync=no\n",
		z->dir, z->port);
	if (ensemble > 1) ensemble_config(z, f, ensemble);
	fclose(f);
}

static void zk_server_exec(const struct zk_server *z)
{
	char config[96], log[96];
	snprintf(config, sizeof(config), "%s/zoo.cfg", z->dir);
	snprintf(log, sizeof(log), "%s/log", z->dir);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	execlp("java", "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
	       "-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
	       JARS "zookeeper.jar:" JARS "zookeeper-jute.jar:" JARS "slf4j-api.jar:" JARS
		    "slf4j-simple.jar:" JARS "netty-all.jar:" JARS "commons-io.jar",
	       "org.apache.zookeeper.server.quorum.QuorumPeerMain", config, (char *)NULL);
	_exit(127);
}

static void zk_server_until(struct zk_server *z, enum serves enough)
{
	z->pid = fork();
	must(z->pid >= 0, "fork");
	if (z->pid == 0) zk_server_exec(z);
	for (int i = 0; i < 600 && serves(z->port) < enough; i++) {
		must(waitpid(z->pid, NULL, WNOHANG) == 0, "it ended");
		usleep(50000);
	}
	must(serves(z->port) >= enough, "it does not answer");
}

void zk_server_run(struct zk_server *z)
{
	zk_server_until(z, SERVES_CONNECTIONS);
}

void zk_server_start(struct zk_server *z)
{
	zk_server_until(z, SERVES_ALL);
}

void zk_server_kill(struct zk_server *z)
{
	if (!z->pid) return;
	kill(z->pid, SIGKILL);
	waitpid(z->pid, NULL, 0);
	z->pid = 0;
}

void zk_server_fini(struct zk_server *z)
{
	zk_server_kill(z);
	char command[96];
	snprintf(command, sizeof(command), "rm -rf '%s'", z->dir);
	must(system(command) == 0, "rm");
}
