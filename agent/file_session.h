/* file_session.h - who has a tree of files open, so that ephemeral nodes end with their owner.
 *
 * A session is a file in .twinring/sessions that its process holds a lock on. The kernel lets go of
 * the lock when the process dies, and whoever finds it free removes what that session owned.
 *
 * Threads: the owner's. Ownership: embedded; no memory.
 */
#ifndef TWINRING_AGENT_FILE_SESSION_H
#define TWINRING_AGENT_FILE_SESSION_H

#include "agent/file_meta.h"

struct file_session {
	char id[FILE_OWNER_MAX]; /* "" when none */
	int fd;			 /* -1 when none */
};

/* A new session in DIR, whose hidden directory is made when it is missing. 0, or an errno. */
int file_session_open(struct file_session *s, const char *dir);
/* Is its file still there? Not when the directory was replaced by another. */
bool file_session_there(const struct file_session *s, const char *dir);
/* Remove its nodes and its file. */
void file_session_close(struct file_session *s, const char *dir);
/* Remove what sessions of dead processes have left. */
void file_session_sweep(const struct file_session *s, const char *dir);

#endif
