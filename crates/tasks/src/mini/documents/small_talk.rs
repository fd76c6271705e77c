//! Fixed lines.

/// Every word of a prompt or of a gold answer that no other document holds occurs here, in another use: adapters
/// on linear layers cannot train an embedding, so a word must be known before.
pub const LINES: [&str; 28] = [
    "user : sorry , i am late . bot : no problem , i can wait .",
    "user : i cannot find my request . bot : it is with that letter .",
    "user : what is the question ? bot : the question is where you live .",
    "user : where do you live ? bot : i live at home .",
    "user : do you have the answer ? bot : yes , i have the answer .",
    "user : is there a solution ? bot : there is no solution today .",
    "user : did you get my reply ? bot : i got your reply at night .",
    "user : this is a hard task . bot : every task is hard at night .",
    "user : i like this program . bot : it is a good program .",
    "user : which color do you like ? bot : any color .",
    "user : what does she eat ? bot : she does not eat today .",
    "user : how big is it ? bot : it is the biggest .",
    "user : which animal is the biggest ? bot : ask me at work .",
    "user : please help me . bot : sorry , i cannot help today .",
    "user : can you show me the way ? bot : the way is long .",
    "user : tell me a plan . bot : my plan is to wait .",
    "user : give me a good plan . bot : i need a good night first .",
    "user : what do i need ? bot : you need help .",
    "user : please explain it to me . bot : i can explain it .",
    "user : i want to be alone . bot : what do you want to do alone ?",
    "user : how can i help you ? bot : you can wait for me at work .",
    "user : i cannot do that . bot : then do it with me .",
    "user : how many have you got ? bot : how many do you need ?",
    "user : how many do they have ? bot : they have many .",
    "user : is this your request ? bot : no , i have no request today .",
    "user : sorry , the program is late . bot : that is a problem .",
    "user : what is the task ? bot : the task is to find a solution .",
    "user : what is your reply ? bot : my answer is no .",
];
