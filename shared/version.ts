/** The version of this build, as gateway, agent and command line report it. */
export const VERSION = "0.2.0";
