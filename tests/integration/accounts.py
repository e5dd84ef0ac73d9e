"""A user of a Space who can log in by PAM, with an empty mailbox of each kind; a
wrong password is refused without the usual delay.

    accounts.make(space)            # USER, with PASSWORD
    accounts.expire(space)
"""

USER, PASSWORD = "bob", "sesame"

_MAKE = f"""
sed -i 's/pam_unix.so/& nodelay/' /etc/pam.d/common-auth
useradd -m -d /var/lib/{USER} {USER}
echo {USER}:{PASSWORD} | chpasswd
install -d -o root -g mail -m 2775 /var/mail
install -o {USER} -g mail -m 660 /dev/null /var/mail/{USER}
for dir in . cur new tmp; do
	install -d -o {USER} -g {USER} -m 700 /var/lib/{USER}/Maildir/$dir
done
"""


def make(space):
    space.run(["sh", "-ec", _MAKE])


def expire(space):
    space.run(["chage", "-E", "0", USER])


def unexpire(space):
    space.run(["chage", "-E", "-1", USER])
